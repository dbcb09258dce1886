"""The recurrent cells of Equinox: `equinox.nn.LSTMCell` and `GRUCell`.

    weight_ih = W,  weight_hh = U,  bias = b,  bias_n = c, a GRU's

Gates and state are in our order. Equinox adds z ∘ (h − n) to a GRU's n, which is our sum rounded
elsewhere. Its cells are trees of JAX, so modules go in and come out, not dicts.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._cells.gated.gru import GRU
from .._cells.gated.lstm import LSTM
from .._core.cell import AbstractLayer
from .._core.errors import bad_input
from ._checks import check_cell_type
from .weight_table import Row, WeightTable

MODULES = {LSTM: eqx.nn.LSTMCell, GRU: eqx.nn.GRUCell}
REMEDY = "pass an equinox.nn.LSTMCell or GRUCell with the shapes that Equinox gives it."


def _table(cell_type: type[Any], has_bias: bool) -> WeightTable:
    gates = len(cell_type.gates)
    ours, theirs = f"{gates} hidden_size", f"{gates}*hidden_size"
    rows = [
        Row({"W": f"{ours} input_size"}, {"weight_ih": f"{theirs} input_size"}),
        Row({"U": f"{ours} hidden_size"}, {"weight_hh": f"{theirs} hidden_size"}),
        Row({"b": ours}, {"bias": theirs} if has_bias else {}),
    ]
    if cell_type is GRU:
        rows.append(Row({"c": "hidden_size"}, {"bias_n": "hidden_size"} if has_bias else {}))
    return WeightTable(cell_type, ("input_size", "hidden_size"), rows, REMEDY)


def from_equinox(module: eqx.nn.LSTMCell | eqx.nn.GRUCell) -> Any:
    """The cell that computes what an `equinox.nn.LSTMCell` or `GRUCell` computes.

    It can be differentiated with respect to the module. `module(x, state)` has the input first, and
    a state as ours, `(h, c)` of an LSTM. A module without biases (`use_bias=False`) gets zeros.

    Args:
        module: the module.

    Returns:
        A `seqmem.LSTM` or `seqmem.GRU`.

    Raises:
        ValueError: for another module, or one whose arrays do not have the shapes of its class.

    Example:
        >>> import equinox, jax, seqmem
        >>> module = equinox.nn.GRUCell(3, 5, key=jax.random.key(0))
        >>> seqmem.interop.from_equinox(module).U.shape
        (3, 5, 5)
    """
    cell_type = next((ours for ours, cls in MODULES.items() if isinstance(module, cls)), None)
    if cell_type is None:
        raise bad_input(
            f"from_equinox got a {type(module).__name__}.",
            "an equinox.nn.LSTMCell or GRUCell.",
            REMEDY,
        )
    names = ("weight_ih", "weight_hh", "bias", "bias_n")
    weights = {name: getattr(module, name, None) for name in names}
    weights = {name: array for name, array in weights.items() if array is not None}
    return _table(cell_type, has_bias="bias" in weights).to_ours(weights)


def to_equinox(cell: AbstractLayer) -> Any:
    """The inverse of `from_equinox`: an `equinox.nn.LSTMCell` or `GRUCell`, with biases.

    Args:
        cell: a `seqmem.LSTM` or `seqmem.GRU`.

    Raises:
        ValueError: for another cell.

    Example:
        >>> import jax, seqmem
        >>> seqmem.interop.to_equinox(seqmem.LSTM(3, 5, key=jax.random.key(0))).weight_ih.shape
        (20, 3)
    """
    check_cell_type("to_equinox", type(cell), MODULES)
    weights = _table(type(cell), has_bias=True).to_theirs(cell)
    hidden, inputs = weights["weight_hh"].shape[-1], weights["weight_ih"].shape[-1]
    make = MODULES[type(cell)]  # pyright: ignore[reportArgumentType]
    module = eqx.filter_eval_shape(make, inputs, hidden, key=jax.random.key(0))
    arrays = [jnp.asarray(array) for array in weights.values()]
    return eqx.tree_at(lambda module: [getattr(module, name) for name in weights], module, arrays)
