"""The same cell with one thing changed, in the same family: what a modifier changes is data, not a
subclass.

A modifier says what differs from the cell it wraps; a family says how a wrapped cell keeps its
promise. So neither needs to know the other, and there is no product of the two.
"""

import functools
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from ._cell import AbstractCell, Drive, Output, State, readout, update
from ._diagonal.base import AbstractDiagonalCell
from ._errors import bad_input
from ._fast_weights.base import AbstractFastWeightCell
from ._gated.base import AbstractGatedCell
from ._gates import Gate, gate, with_gate
from ._precision import as_precision, precision
from ._stateless.base import AbstractStatelessCell
from ._window.base import AbstractWindowCell


class AbstractModifier(eqx.Module):
    """What differs from the wrapped cell; by default nothing.

    Class attributes:
        shows_states: whether an output is made of the state itself, which a family that never
            makes all states at once cannot give.
    """

    shows_states: ClassVar[bool] = False

    def init_state(self, cell: AbstractCell) -> State:
        return cell.init_state()

    def readout(self, cell: AbstractCell, state: State, drive: Drive) -> Output:
        return readout(cell, state, drive)


class _WithStates(AbstractModifier):
    shows_states = True

    def readout(self, cell, state, drive):
        return readout(cell, state, drive), state


class _WithLearnedState(AbstractModifier):
    learned: State

    def init_state(self, cell):
        own = jax.eval_shape(cell.init_state)
        return as_precision(self.learned, precision(own))


class Modified(AbstractCell):
    cell: AbstractCell
    modifier: AbstractModifier

    @property
    def input_axes(self) -> Any:  # pyright: ignore
        return self.cell.input_axes

    @property
    def input_size(self) -> int | None:
        return getattr(self.cell, "input_size", None)

    @property
    def gates(self) -> tuple[str, ...]:  # pyright: ignore
        return self.cell.gates

    def init_state(self):
        return self.modifier.init_state(self.cell)

    def project(self, x):
        return self.cell.project(x)

    def readout(self, state, drive):
        return self.modifier.readout(self.cell, state, drive)


class _ModifiedCell(Modified):
    def update(self, state, drive):
        return update(self.cell, state, drive)


class _ModifiedDiagonalCell(_ModifiedCell, AbstractDiagonalCell):  # pyright: ignore
    pass


class _ModifiedGatedCell(Modified, AbstractGatedCell):  # pyright: ignore
    def mix(self, state, drive):
        return self.cell.mix(state, drive)  # pyright: ignore

    def gate(self, state, z):
        return self.cell.gate(state, z)  # pyright: ignore


class _ModifiedFastWeightCell(Modified, AbstractFastWeightCell):  # pyright: ignore
    def output(self, reading, extra):
        return self.cell.output(reading, extra)  # pyright: ignore


class _ModifiedWindowCell(_ModifiedCell, AbstractWindowCell):  # pyright: ignore
    def over_time(self, past, drives):
        if self.modifier.shows_states:
            return jax.vmap(self.readout)(past.windows(), drives)
        return self.cell.over_time(past, drives)  # pyright: ignore


class _ModifiedStatelessCell(_ModifiedCell, AbstractStatelessCell):  # pyright: ignore
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
    kind = _ModifiedCell if modifier.shows_states else _ModifiedFastWeightCell
    return kind(cell, modifier)


@modified.register
def _(cell: AbstractWindowCell, modifier: AbstractModifier) -> AbstractCell:
    return _ModifiedWindowCell(cell, modifier)


@modified.register
def _(cell: AbstractStatelessCell, modifier: AbstractModifier) -> AbstractCell:
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


def with_states(cell: AbstractCell) -> AbstractCell:
    """The same cell, of the same family, whose outputs are (output, state).

    A fast-weight cell leaves its family, which never makes the states of all steps, and runs step
    by step.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.with_states(seqmem.LSTM(3, 5, key=jax.random.key(0)))
        >>> _, (ys, states) = seqmem.unroll(cell, cell.init_state(), jax.numpy.ones((7, 3)))
        >>> ys.shape, states.c.shape
        ((7, 5), (7, 5))
    """
    return modified(cell, _WithStates())


def with_learned_state(cell: AbstractCell, state: State | None = None) -> AbstractCell:
    """The same cell, of the same family, whose initial state is a parameter.

    Every sequence that starts from `init_state()`, and every reset, goes to the learned state and
    teaches it.

    Args:
        cell: the cell.
        state: the value to start learning from; None is the cell's own initial state.

    Raises:
        ValueError: where the state does not have the cell's shapes.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.with_learned_state(seqmem.GRU(3, 5, key=jax.random.key(0)))
        >>> xs = jax.numpy.ones((7, 3))
        >>> loss = lambda cell: seqmem.unroll(cell, cell.init_state(), xs)[1].sum()
        >>> bool((jax.grad(loss)(cell).init_state() != 0).all())
        True
    """
    own = cell.init_state()
    state = own if state is None else state
    if jax.tree.structure(own) != jax.tree.structure(state) or any(
        jnp.shape(a) != jnp.shape(b)
        for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(state), strict=True)
    ):
        raise bad_input(
            f"with_learned_state got {jax.tree.map(jnp.shape, state)}.",
            f"the tree and shapes of the cell's init_state(), {jax.tree.map(jnp.shape, own)}.",
            "change the values of cell.init_state(), not its shapes.",
        )
    return modified(cell, _WithLearnedState(jax.tree.map(jnp.copy, state)))
