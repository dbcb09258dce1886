"""Wrappers: the same cell with one thing changed, in the same family where the promise still holds.

A wrapper says what differs from the cell that it wraps. It is data, not a subclass, so there is no
product of wrappers and cells.
"""

from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import PyTree

from .._cells.fast_weights.family import FAST_WEIGHTS
from .._cells.gates import Gate, gate, with_gate
from .._cells.window.family import WINDOW
from .._core.cell import AbstractCell, readout, update
from .._core.family import UNSTRUCTURED, Family
from .._core.problem import Drive, Output, State


class AbstractWrapper(eqx.Module):
    """What differs from the wrapped cell; by default nothing. `cell` is the wrapped one.

    Attributes:
        changes_update: whether the next state is another, which a family with a written `update`
            cannot have.
        keeps_gates: whether the values of gates are those of the wrapped cell at the same state
            and drive.
    """

    changes_update: ClassVar[bool] = False
    keeps_gates: ClassVar[bool] = True

    def input_shape(self, cell: Any) -> PyTree:
        return cell.input_shape

    def init_state(self, cell: Any) -> State:
        return cell.init_state()

    def project(self, cell: Any, x: PyTree) -> Drive:
        return cell.project(x)

    def update(self, cell: Any, state: State, drive: Drive) -> State:
        return update(cell, state, drive)

    def mix(self, cell: Any, state: State, drive: Drive) -> PyTree:
        return cell.mix(state, drive)

    def gate(self, cell: Any, state: State, z: PyTree) -> State:
        return cell.gate(state, z)

    def readout(self, cell: Any, state: State, drive: Drive) -> Output:
        return readout(cell, state, drive)


class WrappedCell(AbstractCell):
    """A cell as a wrapper has it. `mix`, `gate`, `output` and `readout_sequence` are those of the
    wrapped cell's family, where it has them.
    """

    is_composite = True

    cell: AbstractCell
    wrapper: AbstractWrapper

    @property
    def input_shape(self) -> PyTree:  # pyright: ignore
        return self.wrapper.input_shape(self.cell)

    @property
    def family(self) -> Family:  # pyright: ignore
        family = self.cell.family
        leaves = self.wrapper.changes_update and family in (FAST_WEIGHTS, WINDOW)
        return UNSTRUCTURED if leaves else family

    @property
    def gates(self) -> tuple[str, ...]:  # pyright: ignore
        return self.cell.gates

    def init_state(self):
        return self.wrapper.init_state(self.cell)

    def project(self, x):
        return self.wrapper.project(self.cell, x)

    def update(self, state, drive):
        if self.family.update is not None:
            return self.family.update(self, state, drive)
        return self.wrapper.update(self.cell, state, drive)

    def readout(self, state, drive):
        return self.wrapper.readout(self.cell, state, drive)

    def mix(self, state, drive):
        return self.wrapper.mix(self.cell, state, drive)

    def gate(self, state, z):
        return self.wrapper.gate(self.cell, state, z)

    def output(self, reading, extra):
        return self.cell.output(reading, extra)  # pyright: ignore

    def readout_sequence(self, history, drives):
        return self.cell.readout_sequence(history, drives)  # pyright: ignore

    def __repr__(self) -> str:
        name = type(self.wrapper).__name__.removeprefix("_")
        return f"{name}({self.cell!r})"


@gate.register
def _(cell: WrappedCell, name: str) -> Gate:
    return gate(cell.cell, name)


@with_gate.register
def _(cell: WrappedCell, name: str, **parameters: Any) -> AbstractCell:
    return eqx.tree_at(lambda tree: tree.cell, cell, with_gate(cell.cell, name, **parameters))
