"""Gates by name: access to the rows of a fused matrix that belong to one gate."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._core.calls import makes_layer
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.parametrization import is_parametrization


class Gate(NamedTuple):
    """The parameters of one gate: input weights, recurrent weights and bias. U is None for a gate
    that does not depend on the state.
    """

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden state"] | None
    b: Float[Array, " hidden"]


@functools.singledispatch
def gate(cell: AbstractCell, name: str) -> Gate:
    """The weights and the bias of one gate.

    Args:
        cell: a cell with gates.
        name: one of `cell.gates`.

    Raises:
        ValueError: for a cell without that gate.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
        >>> seqmem.gate(cell, "forget").b
        Array([1., 1., 1., 1., 1.], dtype=float32)
    """
    index = _index(cell, name)
    fields = (getattr(cell, field, None) for field in Gate._fields)
    return Gate(*(None if leaf is None else leaf[index] for leaf in fields))  # pyright: ignore


@makes_layer
@functools.singledispatch
def with_gate(
    cell: AbstractCell,
    name: str,
    *,
    W: Float[Array, "hidden input"] | None = None,
    U: Float[Array, "hidden state"] | None = None,
    b: Float[Array, " hidden"] | float | None = None,
) -> AbstractCell:
    """A copy of the cell with other parameters for one gate.

    Args:
        cell: a cell with gates.
        name: one of `cell.gates`.
        W: input weights of the gate, or one number for all entries; None does not change them.
        U: recurrent weights, as W.
        b: bias, as W.

    Raises:
        ValueError: for a cell without that gate or parameter, a structured matrix, or a shape that
            does not fit.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
        >>> seqmem.gate(seqmem.with_gate(cell, "forget", b=2.0), "forget").b
        Array([2., 2., 2., 2., 2.], dtype=float32)
    """
    index = _index(cell, name)
    for field, value in {"W": W, "U": U, "b": b}.items():
        if value is None:
            continue
        fused = getattr(cell, field, None)
        if fused is None:
            raise bad_input(
                f"{type(cell).__name__} has no {field}.",
                f"parameters of gate {name!r}.",
                f"leave {field} out; the gates of this cell do not depend on the state.",
            )
        if is_parametrization(fused):
            raise bad_input(
                f"{field} of a {type(cell).__name__} is a structured matrix.",
                "entries that are parameters.",
                f"set {field}.parameters by equinox.tree_at, or make the cell without a structure.",
            )
        if jnp.shape(value) not in (fused.shape[1:], ()):
            raise bad_input(
                f"{field} of gate {name!r} has shape {jnp.shape(value)}.",
                f"{fused.shape[1:]}, or one number for all entries.",
                "pass an array of that shape, or a number.",
            )
        fused = fused.at[index].set(jnp.asarray(value).astype(fused.dtype))
        cell = eqx.tree_at(lambda tree, field=field: getattr(tree, field), cell, fused)
    return cell


@makes_layer
def with_chrono_bias(cell: AbstractCell, longest_lag: int, *, key: PRNGKeyArray) -> AbstractCell:
    """A copy of the cell with gate biases for lags up to `longest_lag`: chrono initialisation.

        b_f ~ ln U[1, T − 1],    b_i = −b_f

    where T is the longest lag, f the gate that multiplies the old state (forget; update in a GRU)
    and i the gate of the candidate (input; a GRU and a JANET have none). A forget gate with bias
    ln(T − 1) keeps 1 − 1/T of the memory at each step.

    Source: Tallec & Ollivier 2018, arXiv:1804.11188, equation 16 (section 2).

    Args:
        cell: a cell with a gate "forget" and a gate "input" or "cell", or with "update".
        longest_lag: T, in steps, > 2.
        key: random key for the biases.

    Raises:
        ValueError: for a cell without these gates, or a lag of at most 2.
    """
    if longest_lag <= 2:
        raise bad_input(
            f"with_chrono_bias got longest_lag={longest_lag}.",
            "more than 2 steps: biases are drawn from ln U[1, T − 1].",
            "pass the longest dependency in the data, in steps.",
        )
    # The update gate of a MinGRU depends on the input alone and multiplies the candidate.
    old_gate = (
        "update" if "update" in cell.gates and gate(cell, "update").U is not None else "forget"
    )
    is_lstm = "forget" in cell.gates and ("input" in cell.gates or "cell" in cell.gates)
    if old_gate == "forget" and not is_lstm:
        raise bad_input(
            f"{type(cell).__name__} has the gates {cell.gates}.",
            "a gate 'forget' and a gate 'input' or 'cell', or the gate 'update' of a GRU.",
            "use it on an LSTM or a GRU.",
        )
    shape = gate(cell, old_gate).b.shape
    bias = jnp.log(jax.random.uniform(key, shape, minval=1.0, maxval=longest_lag - 1.0))
    cell = with_gate(cell, old_gate, b=bias)
    return with_gate(cell, "input", b=-bias) if "input" in cell.gates else cell


def _index(cell: AbstractCell, name: str) -> int:
    if name not in cell.gates:
        raise bad_input(
            f"gate {name!r} of {type(cell).__name__}.",
            f"one of {cell.gates}." if cell.gates else "a cell with gates.",
            "look at cell.gates.",
        )
    return cell.gates.index(name)
