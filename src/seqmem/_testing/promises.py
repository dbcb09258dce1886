"""What each family promises, as equations that `check_cell` compares both sides of.

A family registers its own:

    @promises.register
    def _(cell: AbstractSomeCell, draws):
        yield "update is affine in s", left, right
"""

import functools
from collections.abc import Callable, Iterator
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._core.cell import AbstractCell, Drive, State
from .._cells.diagonal.base import AbstractDiagonalCell, affine_map
from .._cells.fast_weights.base import AbstractFastWeightCell
from .._cells.gated.base import AbstractGatedCell, gate, mix
from .._cells.pointwise import AbstractPointwiseCell
from .._cells.window.base import AbstractWindowCell
from .._cells.window.history import History


class Draws(Protocol):
    """Where an equation gets its arguments from."""

    def random_state(self, scale: float) -> State:
        """Any numbers in the shape of a state, complex ones off the axes."""
        ...

    def drive(self) -> Drive:
        """The projection of a random input."""
        ...


@functools.singledispatch
def functions(cell: AbstractCell, state: State, drive: Drive) -> dict[str, Callable[[], PyTree]]:
    """The functions that a family adds to project, update and readout, ready to be called."""
    return {}


@functools.singledispatch
def promises(cell: AbstractCell, draws: Draws) -> Iterator[tuple[str, PyTree, PyTree]]:
    """Equations that the family of `cell` promises: in words, the left side, the right side."""
    return iter(())


@functions.register
def _(cell: AbstractGatedCell, state: State, drive: Drive) -> dict[str, Callable[[], PyTree]]:
    z = mix(cell, state, drive)
    return {
        "mix(state, drive)": lambda: mix(cell, state, drive),
        "gate(state, z)": lambda: gate(cell, state, z),
    }


@functions.register
def _(cell: AbstractFastWeightCell, state: State, drive: Drive) -> dict[str, Callable[[], PyTree]]:
    reading = cell.init_state().matrix[..., 0]
    shown = reading if state.log_scale is None else (reading, state.log_scale)
    return {"output(reading, extra)": lambda: cell.output(shown, drive[1])}


@promises.register
def _(cell: AbstractDiagonalCell, draws: Draws) -> Iterator[tuple[str, PyTree, PyTree]]:
    drive = draws.drive()
    for scale in (1.0, 1000.0):
        state = draws.random_state(scale)
        a, b = affine_map(cell, drive, state)
        yield (
            "update(s, u) = a ∘ s + b with a and b functions of u alone",
            cell.update(state, drive),
            jax.tree.map(lambda a, s, b: a * s + b, a, state, b),
        )


@promises.register
def _(cell: AbstractFastWeightCell, draws: Draws) -> Iterator[tuple[str, PyTree, PyTree]]:
    state, drive = draws.random_state(1.0), draws.drive()
    yield (
        "update and readout as AbstractFastWeightCell has them: a cell writes project and output",
        (cell.update(state, drive), cell.readout(state, drive)),
        (
            AbstractFastWeightCell.update(cell, state, drive),
            AbstractFastWeightCell.readout(cell, state, drive),
        ),
    )


@promises.register
def _(cell: AbstractGatedCell, draws: Draws) -> Iterator[tuple[str, PyTree, PyTree]]:
    near, far = draws.random_state(1.0), draws.random_state(1000.0)
    drive, other = draws.drive(), draws.drive()
    for state in (near, far):
        yield (
            "update(s, u) = gate(s, mix(s, u))",
            cell.update(state, drive),
            cell.gate(state, cell.mix(state, drive)),
        )
    z, z_far = cell.mix(near, drive), cell.mix(far, other)
    for weight in (0.3, -1.7):

        def blend(a: PyTree, b: PyTree, weight: float = weight) -> PyTree:
            return jax.tree.map(lambda a, b: weight * a + (1 - weight) * b, a, b)

        yield (
            "a mix that is affine in s and in u: mix(a·s + (1−a)·s', a·u + (1−a)·u') = "
            "a·mix(s, u) + (1−a)·mix(s', u')",
            cell.mix(blend(near, far), blend(drive, other)),
            blend(z, z_far),
        )


@promises.register
def _(cell: AbstractPointwiseCell, draws: Draws) -> Iterator[tuple[str, PyTree, PyTree]]:
    yield "a state without leaves", jax.tree.leaves(cell.init_state()), []


@functions.register
def _(cell: AbstractWindowCell, state: State, drive: Drive) -> dict[str, Callable[[], PyTree]]:
    return {"readout_sequence(history, drives)": lambda: cell.readout_sequence(*_three_steps(state, [drive] * 3))}


@promises.register
def _(cell: AbstractWindowCell, draws: Draws) -> Iterator[tuple[str, PyTree, PyTree]]:
    state, drive = draws.random_state(1.0), draws.drive()
    yield (
        "update as AbstractWindowCell has it: a window loses its oldest entry for a new one",
        cell.update(state, drive),
        AbstractWindowCell.update(cell, state, drive),
    )
    history, drives = _three_steps(state, [drive, draws.drive(), draws.drive()])
    for age in (None, jnp.array([0, 1, 0])):
        history = history._replace(steps_since_reset=age)
        yield (
            "readout_sequence(history, u)_t = readout(history.windows()_t, u_t)",
            cell.readout_sequence(history, drives),
            jax.vmap(cell.readout)(history.windows(), drives),
        )


def _three_steps(state: State, drives: list[Drive]) -> tuple[History, Drive]:
    stacked = jax.tree.map(lambda *steps: jnp.stack(steps), *drives)
    state = jax.tree.map(jnp.asarray, state)
    entries = jax.tree.map(lambda s, e: jnp.concatenate([s, e]), state, stacked[0])
    return History(entries, state, None), stacked
