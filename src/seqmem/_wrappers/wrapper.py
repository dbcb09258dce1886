"""The same cell with one thing changed, in the same family: what a modifier changes is data, not a
subclass.

A modifier says what differs from the cell it wraps; a family says how a wrapped cell keeps its
promise. So neither needs to know the other, and there is no product of the two.
"""

import functools
from typing import Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import PyTree

from .._core.cell import AbstractCell, Drive, Output, State, readout, update
from .._cells.diagonal.base import AbstractDiagonalCell
from .._cells.fast_weights.base import AbstractFastWeightCell
from .._cells.gated.base import AbstractGatedCell
from .._cells.gates import Gate, gate, with_gate
from .._cells.pointwise import AbstractPointwiseCell
from .._cells.window.base import AbstractWindowCell


class AbstractModifier(eqx.Module):
    """What differs from the wrapped cell; by default nothing. `cell` is the wrapped one.

    Class attributes:
        shows_states: whether an output is made of the state itself, which a family that never
            makes all states at once cannot give.
        changes_update: whether the next state is another, which a family with a written `update`
            cannot have.
        keeps_gates: whether the values of gates are those of the wrapped cell at the same state
            and drive.
    """

    shows_states: ClassVar[bool] = False
    changes_update: ClassVar[bool] = False
    keeps_gates: ClassVar[bool] = True

    def input_axes(self, cell: AbstractCell) -> Any:
        return cell.input_axes

    def init_state(self, cell: AbstractCell) -> State:
        return cell.init_state()

    def project(self, cell: AbstractCell, x: PyTree) -> Drive:
        return cell.project(x)

    def update(self, cell: AbstractCell, state: State, drive: Drive) -> State:
        return update(cell, state, drive)

    def mix(self, cell: AbstractGatedCell, state: State, drive: Drive) -> PyTree:
        return cell.mix(state, drive)

    def gate(self, cell: AbstractGatedCell, state: State, z: PyTree) -> State:
        return cell.gate(state, z)

    def readout(self, cell: AbstractCell, state: State, drive: Drive) -> Output:
        return readout(cell, state, drive)


class Modified(AbstractCell):
    cell: AbstractCell
    modifier: AbstractModifier

    @property
    def input_axes(self) -> Any:  # pyright: ignore
        return self.modifier.input_axes(self.cell)

    @property
    def input_size(self) -> int | None:
        return getattr(self.cell, "input_size", None)

    @property
    def gates(self) -> tuple[str, ...]:  # pyright: ignore
        return self.cell.gates

    def init_state(self):
        return self.modifier.init_state(self.cell)

    def project(self, x):
        return self.modifier.project(self.cell, x)

    def readout(self, state, drive):
        return self.modifier.readout(self.cell, state, drive)


class _ModifiedCell(Modified):
    def update(self, state, drive):
        return self.modifier.update(self.cell, state, drive)


class _ModifiedDiagonalCell(_ModifiedCell, AbstractDiagonalCell):  # pyright: ignore
    pass


class _ModifiedGatedCell(Modified, AbstractGatedCell):  # pyright: ignore
    def mix(self, state, drive):
        return self.modifier.mix(self.cell, state, drive)  # pyright: ignore

    def gate(self, state, z):
        return self.modifier.gate(self.cell, state, z)  # pyright: ignore


class _ModifiedFastWeightCell(Modified, AbstractFastWeightCell):  # pyright: ignore
    def output(self, reading, extra):
        return self.cell.output(reading, extra)  # pyright: ignore


class _ModifiedWindowCell(_ModifiedCell, AbstractWindowCell):  # pyright: ignore
    def readout_sequence(self, history, drives):
        if self.modifier.shows_states:
            return jax.vmap(self.readout)(history.windows(), drives)
        return self.cell.readout_sequence(history, drives)  # pyright: ignore


class _ModifiedStatelessCell(_ModifiedCell, AbstractPointwiseCell):  # pyright: ignore
    pass


@functools.singledispatch
def modified(cell: AbstractCell, modifier: AbstractModifier) -> AbstractCell:
    """The cell as the modifier has it. A family registers the class that keeps its promise."""
    return _ModifiedCell(cell, modifier)


@modified.register
def _(cell: AbstractDiagonalCell, modifier: AbstractModifier) -> AbstractCell:
    return _ModifiedDiagonalCell(cell, modifier)


@modified.register
def _(cell: AbstractGatedCell, modifier: AbstractModifier) -> AbstractCell:
    return _ModifiedGatedCell(cell, modifier)


@modified.register
def _(cell: AbstractFastWeightCell, modifier: AbstractModifier) -> AbstractCell:
    leaves = modifier.shows_states or modifier.changes_update
    kind = _ModifiedCell if leaves else _ModifiedFastWeightCell
    return kind(cell, modifier)


@modified.register
def _(cell: AbstractWindowCell, modifier: AbstractModifier) -> AbstractCell:
    kind = _ModifiedCell if modifier.changes_update else _ModifiedWindowCell
    return kind(cell, modifier)


@modified.register
def _(cell: AbstractPointwiseCell, modifier: AbstractModifier) -> AbstractCell:
    return _ModifiedStatelessCell(cell, modifier)


@update.register
def _(cell: _ModifiedCell, state: State, drive: Drive) -> State:
    return cell.update(state, drive)


@readout.register
def _(cell: Modified, state: State, drive: Drive) -> Output:
    return cell.readout(state, drive)


@gate.register
def _(cell: Modified, name: str) -> Gate:
    return gate(cell.cell, name)


@with_gate.register
def _(cell: Modified, name: str, **parameters: Any) -> AbstractCell:
    return eqx.tree_at(lambda tree: tree.cell, cell, with_gate(cell.cell, name, **parameters))
