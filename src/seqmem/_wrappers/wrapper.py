"""Wrappers: a cell with one of its functions changed, in the same family where the promise still
holds.

A wrapper is data, not a subclass, so that there is no class for each pair of wrapper and cell.
"""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import wadler_lindig as wl
from jaxtyping import PyTree

from .._cells.attention.family import ATTENTION
from .._cells.fast_weights.family import FAST_WEIGHTS
from .._cells.gated.family import GATED
from .._cells.gates import Gate, gate, with_gate
from .._cells.window.family import WINDOW
from .._core.cell import AbstractCell, readout, update
from .._core.container import AbstractContainer
from .._core.family import UNSTRUCTURED, Family
from .._core.jacobian import AbstractJacobian
from .._core.problem import Drive, Output, State


class AbstractWrapper(eqx.Module):
    """The functions of a wrapped cell. By default each is that of the cell, the first argument.

    Attributes:
        name: the public function that makes the wrapped cell, for messages and the `repr`.
        has_new_update: whether the next state differs from the cell's. A family that writes
            `update` itself (fast weights, windows, attention) then no longer applies.
        has_new_gates: whether the values of the gates differ from the cell's, at the same state
            and drive.
        has_affine_mix: whether `mix` remains affine in state and drive. A gated cell is
            unstructured where it does not.
    """

    name: ClassVar[str]
    has_new_update: ClassVar[bool] = False
    has_new_gates: ClassVar[bool] = False
    has_affine_mix: ClassVar[bool] = True

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
    """A cell with the functions of a wrapper. It has `mix`, `gate`, `output`, `read`,
    `entry` and `readout_sequence` where the family of the wrapped cell has them.
    """

    is_composite = True

    cell: AbstractCell
    wrapper: AbstractWrapper

    @property
    def input_shape(self) -> PyTree:  # pyright: ignore
        return self.wrapper.input_shape(self.cell)

    @property
    def family(self) -> Family:  # pyright: ignore
        has_fixed_update = self.cell.family in (FAST_WEIGHTS, WINDOW, ATTENTION)
        is_broken = self.wrapper.has_new_update and has_fixed_update
        is_broken |= not self.wrapper.has_affine_mix and self.cell.family is GATED
        if is_broken or isinstance(self.cell, AbstractContainer):  # which runs as one cell then
            return UNSTRUCTURED
        return self.cell.family

    @property
    def output_shape(self) -> PyTree:
        """That of the wrapped cell: no wrapper changes it."""
        return self.cell.output_shape

    @property
    def gates(self) -> tuple[str, ...]:  # pyright: ignore
        return self.cell.gates

    @property
    def jacobian(self) -> AbstractJacobian | None:  # pyright: ignore
        """That of the wrapped cell, where a step is one of that cell."""
        is_changed = self.wrapper.has_new_update or self.wrapper.has_new_gates
        return None if is_changed else self.cell.jacobian

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

    def read(self, memory, query):
        return self.cell.read(memory, query)  # pyright: ignore

    @property
    def reads_once(self) -> bool:
        return self.cell.reads_once  # pyright: ignore

    def entry(self, drive, position):
        return self.cell.entry(drive, position)  # pyright: ignore

    def readout_sequence(self, history, drives):
        return self.cell.readout_sequence(history, drives)  # pyright: ignore

    @property
    def _title(self) -> str:
        return self.wrapper.name

    def __pdoc__(self, **options: Any) -> wl.AbstractDoc:
        """What `equinox.tree_pformat` prints: `with_input_dropout(GRU(...), mask=f32[3])`."""
        fields = [
            (field.name, getattr(self.wrapper, field.name))
            for field in dataclasses.fields(self.wrapper)
        ]
        return wl.bracketed(
            begin=wl.TextDoc(f"{self.wrapper.name}("),
            docs=[wl.pdoc(self.cell, **options), *wl.named_objs(fields, **options)],
            sep=wl.comma,
            end=wl.TextDoc(")"),
            indent=options["indent"],
        )


@gate.register
def _(cell: WrappedCell, name: str) -> Gate:
    return gate(cell.cell, name)


@with_gate.register  # pyright: ignore[reportFunctionMemberAccess]
def _(cell: WrappedCell, name: str, **parameters: Any) -> AbstractCell:
    return eqx.tree_at(lambda tree: tree.cell, cell, with_gate(cell.cell, name, **parameters))
