"""The recurrent cells of Flax, in `flax.linen` and in `flax.nnx`.

    linen      one module of each gate:  "if" = {kernel},  "hf" = {kernel, bias}
    nnx        one module for all gates: "dense_i" and "dense_h"; but `nnx.LSTMCell` is as linen's,
               with "if_" for "if"
    kernel = Wᵀ or Uᵀ; the biases b are in one of both modules, and c, a GRU's, is "hn" of linen's

The carry of an LSTM is (c, h), while `seqmem.LSTMState` is (h, c). Flax itself is not imported.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._cells.gated.gru import GRU
from .._cells.gated.lstm import LSTM
from .._cells.gated.reset_after_mgu import ResetAfterMGU
from .._cells.gated.rnn import RNN
from .._cells.gated.ugrnn import UGRNN
from .._core.cell import AbstractLayer
from .._core.errors import bad_input
from ._checks import check_activation_of, check_cell_type, check_without_output
from ._kernels import bias, biases, flatten, kernel, kernels, nest
from .weight_table import Row, WeightTable

REMEDY = (
    "pass the parameters of one cell of flax.linen, such as variables['params']['cell'] of an RNN, "
    "or of flax.nnx, nnx.to_pure_dict(nnx.state(cell, nnx.Param)), and its type in seqmem."
)


def _table(cell_type: type[AbstractLayer], rows: Sequence[Row]) -> WeightTable:
    return WeightTable(cell_type, ("input_size", "hidden_size"), rows, REMEDY)


def _linen(inputs: str, states: str) -> list[Row]:
    """The kernels of a cell with a module for each gate, from the names of its modules."""
    return [
        kernels("W", "input_size", [f"{module}.kernel" for module in inputs.split()]),
        kernels("U", "hidden_size", [f"{module}.kernel" for module in states.split()]),
    ]


def _lstm(forget: str) -> WeightTable:
    rows = _linen(f"ii {forget} ig io", "hi hf hg ho")
    return _table(LSTM, [*rows, biases("b", ["hi.bias", "hf.bias", "hg.bias", "ho.bias"])])


def _dense(gates: int) -> list[Row]:
    """The kernels of a cell with all gates in one module, in our order."""
    return [
        kernel("W", "input_size", "dense_i.kernel", range(gates)),
        kernel("U", "hidden_size", "dense_h.kernel", range(gates)),
    ]


LINEN_LSTM = _lstm("if")
TABLES: dict[type[AbstractLayer], dict[str, WeightTable]] = {
    LSTM: {
        "linen.LSTMCell": LINEN_LSTM,
        "linen.OptimizedLSTMCell": LINEN_LSTM,
        "nnx.LSTMCell": _lstm("if_"),
        "nnx.OptimizedLSTMCell": _table(LSTM, [*_dense(4), bias("b", "dense_h.bias", range(4))]),
    },
    GRU: {
        "linen.GRUCell": _table(
            GRU,
            [
                *_linen("ir iz in", "hr hz hn"),
                biases("b", ["ir.bias", "iz.bias", "in.bias"]),
                biases("c", ["hn.bias"]),
            ],
        ),
        "nnx.GRUCell": _table(
            GRU, [*_dense(3), bias("b", "dense_i.bias", range(3)), Row({"c": "hidden_size"}, {})]
        ),
    },
    ResetAfterMGU: {
        "linen.MGUCell": _table(
            ResetAfterMGU,
            [
                *_linen("if in", "hf hn"),
                biases("b", ["if.bias", "in.bias"]),
                biases("c", ["hn.bias"]),
            ],
        )
    },
    UGRNN: {
        "linen.MGUCell": _table(
            UGRNN, [*_linen("if in", "hf hn"), biases("b", ["if.bias", "in.bias"])]
        )
    },
    RNN: {
        "linen.SimpleCell": _table(RNN, [*_linen("i", "h"), biases("b", ["i.bias"])]),
        "nnx.SimpleCell": _table(RNN, [*_dense(1), biases("b", ["dense_i.bias"])]),
    },
}


def from_flax(
    cell_type: type[AbstractLayer],
    params: Mapping[str, Any],
    *,
    activation: Callable[[Array], Array] | None = None,
) -> Any:
    """The cell that computes what a recurrent cell of `flax.linen` or `flax.nnx` computes.

        variables = linen.LSTMCell(64).init(key, carry, x)
        cell = from_flax(seqmem.LSTM, variables["params"])
        cell = from_flax(seqmem.LSTM, nnx.to_pure_dict(nnx.state(nnx_cell, nnx.Param)))

    | `cell_type` | Flax |
    |---|---|
    | `seqmem.LSTM` | `LSTMCell`, `OptimizedLSTMCell`; of nnx both too, whose names differ |
    | `seqmem.GRU` | `GRUCell`; that of nnx has no bias c, which is 0 here |
    | `seqmem.RNN` | `SimpleCell` without its option `residual` |
    | `seqmem.ResetAfterMGU` | `MGUCell`, whose forget gate acts after the product |
    | `seqmem.UGRNN` | `MGUCell` with `reset_gate=False` |

    The names tell which of them it is. An LSTM's carry is (c, h), and the state of ours (h, c).

    Args:
        cell_type: one of the table.
        params: nested dicts of arrays by the cell's names.
        activation: of an RNN, the cell's `activation_fn`, which is not among the arrays; None is
            tanh.

    Raises:
        ValueError: for another type of cell, and where names or shapes do not fit.

    Example:
        >>> import numpy as np, seqmem
        >>> from seqmem.interop import from_flax
        >>> kernel, recurrent = {"kernel": np.ones((3, 20))}, np.ones((5, 20))
        >>> params = {"dense_i": kernel, "dense_h": {"kernel": recurrent, "bias": np.ones(20)}}
        >>> cell = from_flax(seqmem.LSTM, params)
        >>> cell.input_shape, seqmem.gate(cell, "forget").U.shape
        ((3,), (5, 5))
    """
    check_cell_type("from_flax", cell_type, TABLES)
    check_activation_of("from_flax", cell_type, activation)
    weights = flatten(params, REMEDY)
    tables = TABLES[cell_type].values()
    table = max(tables, key=lambda table: len(table.shapes.keys() & weights.keys()))
    options: dict[str, Any] = {} if activation is None else {"activation": activation}
    return table.to_ours(weights, **options)


def to_flax(cell: AbstractLayer, *, module: str | None = None) -> dict[str, Any]:
    """The parameters of a cell as nested dicts, as a cell of Flax holds them.

        params = to_flax(cell)                                     # linen.LSTMCell
        params = to_flax(cell, module="nnx.OptimizedLSTMCell")
        nnx.update(nnx_cell, params)                               # for a cell of nnx

    Args:
        cell: a `seqmem.LSTM`, `GRU`, `ResetAfterMGU`, `UGRNN` (an `MGUCell(reset_gate=False)`), or
            an `RNN` without an output size, whose activation is Flax's argument `activation_fn`.
        module: the name of the cell in Flax, such as "nnx.GRUCell"; None is that of linen.

    Raises:
        ValueError: where Flax has no such cell.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import to_flax
        >>> params = to_flax(seqmem.GRU(3, 5, key=jax.random.key(0)), module="nnx.GRUCell")
        >>> params["dense_i"]["kernel"].shape
        (3, 15)
    """
    check_cell_type("to_flax", type(cell), TABLES)
    check_without_output(cell, "flax.linen.Dense(use_bias=False)")
    tables = TABLES[type(cell)]
    module = next(iter(tables)) if module is None else module
    if module not in tables:
        raise bad_input(
            f"module={module!r} for a {type(cell).__name__}.",
            " or ".join(repr(name) for name in tables) + ".",
            "leave it out for the cell of flax.linen.",
        )
    if module == "nnx.GRUCell" and np.any(jnp.asarray(cell.c)):  # pyright: ignore
        raise bad_input(
            "a GRU whose bias c is not 0.",
            "c = 0: nnx.GRUCell has no bias in its reset gate.",
            'pass module="linen.GRUCell", whose bias is "hn", or set c to 0.',
        )
    return nest(tables[module].to_theirs(cell))
