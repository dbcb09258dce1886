"""The recurrent cores of Haiku: `haiku.LSTM`, `GRU` and `VanillaRNN`.

    LSTM        one product of [x, h], gates input, cell, forget, output; the forget gate is
                σ(f + 1), so our bias is theirs plus 1
    GRU         gates update, reset, candidate; h = (1 − z) ∘ h + z ∘ n, so our z is σ of minus
                theirs, and the reset gate is before the product
    VanillaRNN  relu, with one bias or two, of which only the sum counts

Haiku itself is not imported.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from .._cells.gated.lstm import LSTM
from .._cells.gated.rnn import RNN
from .._cells.unstructured.reset_before_gru import ResetBeforeGRU
from .._core.cell import AbstractLayer
from .._core.errors import bad_input
from ._checks import check_cell_type, check_without_output
from ._kernels import (
    bias,
    biases,
    by_gate,
    flatten,
    inverse,
    kernel,
    kernels,
    nest,
    places,
)
from .weight_table import AnyArray, Row, WeightTable, concatenate

NAMES = {LSTM: "lstm", ResetBeforeGRU: "gru", RNN: "vanilla_rnn"}
REMEDY = (
    "pass the parameters that hk.transform makes, the type of the core in seqmem (ResetBeforeGRU "
    "for a GRU), and the core's name where it is not Haiku's, such as name='net/~/lstm_1'."
)
LSTM_ORDER = places(LSTM.gates, ("input", "cell", "forget", "output"))
GRU_ORDER = places(ResetBeforeGRU.gates, ("update", "reset", "candidate"))
FORGET = np.array([gate == "forget" for gate in LSTM.gates])
SIGNS = np.array([-1 if gate == "update" else 1 for gate in ResetBeforeGRU.gates])


def _split_matrix(w: AnyArray) -> AnyArray:
    """W and U, one after the other, from the matrix of [x, h]."""
    blocks = by_gate(w.T, LSTM_ORDER)
    inputs = blocks.shape[2] - blocks.shape[1]
    return concatenate(blocks[..., :inputs].reshape(-1), blocks[..., inputs:].reshape(-1))


def _join_matrices(W: np.ndarray, U: np.ndarray) -> np.ndarray:
    both = np.concatenate([W, U], axis=2)[np.array(inverse(LSTM_ORDER))]
    return both.reshape(-1, both.shape[2]).T


def _added_to_forget(b: AnyArray, amount: int) -> AnyArray:
    return b + (amount * FORGET[:, None]).astype(b.dtype)


def _with_signs(row: Row) -> Row:
    """The row of a GRU, the update gate's sign changed."""

    def change(array: AnyArray) -> AnyArray:
        blocks = array.reshape(len(SIGNS), -1)
        return (blocks * SIGNS[:, None].astype(blocks.dtype)).reshape(array.shape)

    return Row(
        row.ours,
        row.theirs,
        to_ours=lambda array: change(row.to_ours(array)),
        to_theirs=lambda array: row.to_theirs(change(array)),
    )


LSTM_ROWS = (
    Row(
        {"W": "4 hidden_size input_size", "U": "4 hidden_size hidden_size"},
        {"linear.w": "input_size+hidden_size 4*hidden_size"},
        _split_matrix,
        _join_matrices,
    ),
    Row(
        {"b": "4 hidden_size"},
        {"linear.b": "4*hidden_size"},
        to_ours=lambda b: _added_to_forget(by_gate(b, LSTM_ORDER), 1),
        to_theirs=lambda b: _added_to_forget(b, -1)[np.array(inverse(LSTM_ORDER))],
    ),
)
GRU_ROWS = (
    _with_signs(kernel("W", "input_size", "w_i", GRU_ORDER)),
    _with_signs(kernel("U", "hidden_size", "w_h", GRU_ORDER)),
    _with_signs(bias("b", "b", GRU_ORDER)),
)
RNN_ROWS = (
    kernels("W", "input_size", ["linear.w"]),
    kernels("U", "hidden_size", ["linear_1.w"]),
)
ONE_BIAS = biases("b", ["linear.b"])
TWO_BIASES = Row(
    {"b": "hidden_size"},
    {"linear.b": "hidden_size", "linear_1.b": "hidden_size"},
    to_ours=lambda inner, outer: inner + outer,
    to_theirs=lambda b: np.stack([b, np.zeros_like(b)]),
)


def _table(cell_type: type[AbstractLayer], has_two_biases: bool = True) -> WeightTable:
    rows = {LSTM: LSTM_ROWS, ResetBeforeGRU: GRU_ROWS}.get(cell_type)
    rows = rows or (*RNN_ROWS, TWO_BIASES if has_two_biases else ONE_BIAS)
    return WeightTable(cell_type, ("input_size", "hidden_size"), rows, REMEDY)


def from_haiku(
    cell_type: type[AbstractLayer], params: Mapping[str, Any], *, name: str | None = None
) -> Any:
    """The cell that computes what a `haiku.LSTM`, `GRU` or `VanillaRNN` computes.

        cell = from_haiku(seqmem.LSTM, params)                              # hk.LSTM(64)
        cell = from_haiku(seqmem.ResetBeforeGRU, params, name="agent/~/gru_1")

    Args:
        cell_type: `seqmem.LSTM`, `seqmem.ResetBeforeGRU` for a `haiku.GRU`, or `seqmem.RNN`, whose
            activation is relu.
        params: the parameters of `haiku.transform`, which may have those of other modules too.
        name: of the core in Haiku; None is "lstm", "gru" or "vanilla_rnn".

    Raises:
        ValueError: for another type of cell, and where names or shapes do not fit.

    Example:
        >>> import numpy as np, seqmem
        >>> from seqmem.interop import from_haiku
        >>> params = {"lstm/linear": {"w": np.ones((8, 20)), "b": np.zeros(20)}}
        >>> cell = from_haiku(seqmem.LSTM, params)
        >>> cell.input_shape, float(seqmem.gate(cell, "forget").b[0])
        ((3,), 1.0)
    """
    check_cell_type("from_haiku", cell_type, NAMES)
    name = NAMES[cell_type] if name is None else name
    modules = flatten(params, REMEDY)
    starts = (f"{name}.", f"{name}/")
    weights = {
        parameter[len(name) + 1 :]: array
        for parameter, array in modules.items()
        if parameter.startswith(starts)
    }
    if not weights:
        raise bad_input(
            f"parameters of the modules {sorted(params)}.",
            f"those of {name!r} among them.",
            REMEDY,
        )
    table = _table(cell_type, has_two_biases="linear_1.b" in weights)
    options: dict[str, Any] = {"activation": jax.nn.relu} if cell_type is RNN else {}
    return table.to_ours(weights, **options)


def to_haiku(cell: AbstractLayer, *, name: str | None = None) -> dict[str, dict[str, Any]]:
    """The parameters of a cell as Haiku holds them.

    All arrays come back bit for bit through `from_haiku` but the bias of an LSTM's forget gate,
    which is rounded where 1 is taken from it.

    Args:
        cell: a `seqmem.LSTM`, a `seqmem.ResetBeforeGRU`, or a `seqmem.RNN` without an output size,
            whose activation is relu.
        name: of the core in Haiku; None is "lstm", "gru" or "vanilla_rnn".

    Raises:
        ValueError: where Haiku has no such core.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import to_haiku
        >>> params = to_haiku(seqmem.LSTM(3, 5, key=jax.random.key(0)))
        >>> params["lstm/linear"]["w"].shape
        (8, 20)
    """
    check_cell_type("to_haiku", type(cell), NAMES)
    check_without_output(cell, "haiku.Linear(with_bias=False)")
    if getattr(cell, "activation", jax.nn.relu) is not jax.nn.relu:
        raise bad_input(
            f"an RNN with activation {cell.activation!r}.",  # pyright: ignore
            "jax.nn.relu: a haiku.VanillaRNN has no other.",
            "keep the cell as it is, or write its loop in Haiku.",
        )
    name = NAMES[type(cell)] if name is None else name
    weights = _table(type(cell)).to_theirs(cell)
    if type(cell) is ResetBeforeGRU:
        return {name: weights}
    return {f"{name}/{module}": arrays for module, arrays in nest(weights).items()}
