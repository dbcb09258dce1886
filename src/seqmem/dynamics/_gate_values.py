"""The values of sigmoid gates at one step."""

import functools

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float

from .._cells.gated.family import mix
from .._cells.gated.gru import GRU
from .._cells.gated.lstm import LSTM
from .._cells.gated.peephole_lstm import PeepholeLSTM
from .._cells.gated.projected_lstm import ProjectedLSTM
from .._cells.unstructured.mgu import MGU
from .._cells.unstructured.reset_before_gru import ResetBeforeGRU
from .._core.cell import AbstractCell, update
from .._core.errors import bad_input
from .._core.problem import Drive, State
from .._wrappers.wrapper import WrappedCell


@functools.singledispatch
def gate_values(
    cell: AbstractCell, state: State, drive: Drive
) -> dict[str, Float[Array, " hidden"]]:
    """The values in (0, 1) of a cell's gates, by name, from the state before a step and its drive.

    For one example and one step. Candidate activations are not included, although `cell.gates`
    names them. A rule for your own cell is registered with `@seqmem.dynamics.gate_values.register`.

    Raises:
        ValueError: for a cell without a rule, and where a wrapper changes the gates.
    """
    raise bad_input(
        f"gate_values got a {type(cell).__name__}.",
        "a cell whose gate values are known.",
        "register a rule with @seqmem.dynamics.gate_values.register.",
    )


def _lstm_gates(z: Array) -> dict[str, Array]:
    i, f, _, o = z
    return {"input": sigmoid(i), "forget": sigmoid(f), "output": sigmoid(o)}


@gate_values.register(LSTM)
@gate_values.register(ProjectedLSTM)
def _(cell: LSTM | ProjectedLSTM, state: State, drive: Drive):
    return _lstm_gates(mix(cell, state, drive))


@gate_values.register
def _(cell: PeepholeLSTM, state: State, drive: Drive):
    z, (p_i, p_f, p_o) = mix(cell, state, drive), cell.p
    c = update(cell, state, drive).c
    return _lstm_gates(
        jnp.stack([z[0] + p_i * state.c, z[1] + p_f * state.c, z[2], z[3] + p_o * c])
    )


@gate_values.register
def _(cell: GRU, state: State, drive: Drive):
    r, z = sigmoid(mix(cell, state, drive)[0])
    return {"reset": r, "update": z}


@gate_values.register
def _(cell: ResetBeforeGRU, state: State, drive: Drive):
    r, z = sigmoid(state @ cell.U[:2].mT + drive[:2])
    return {"reset": r, "update": z}


@gate_values.register
def _(cell: MGU, state: State, drive: Drive):
    return {"forget": sigmoid(state @ cell.U[0].mT + drive[0])}


@gate_values.register
def _(cell: WrappedCell, state: State, drive: Drive):
    if cell.wrapper.has_new_gates:
        raise bad_input(
            f"gate_values got {cell.wrapper.name}({type(cell.cell).__name__}), which changes the "
            "gates.",
            "a cell whose gates are those of its class.",
            "pass the cell without the wrapper.",
        )
    return gate_values(cell.cell, state, drive)


def check_gates(cell: AbstractCell) -> None:
    """Refuse a cell without gates."""
    if not cell.gates:
        raise bad_input(
            f"{type(cell).__name__} has no gates.",
            "a cell with gates, such as an LSTM or a GRU.",
            "use another cell, or Flow.norms, which works for every cell.",
        )
