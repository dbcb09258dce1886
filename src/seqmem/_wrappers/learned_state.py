"""The same cell, seen as one that shows its states, or that learns where it begins."""

import jax
import jax.numpy as jnp

from .._core.cell import AbstractCell, State, readout
from .._core.errors import bad_input
from .._core.precision import as_precision, precision
from .wrapper import AbstractModifier, modified


class _WithStates(AbstractModifier):
    shows_states = True

    def readout(self, cell, state, drive):
        return readout(cell, state, drive), state


class _WithLearnedState(AbstractModifier):
    learned: State

    def init_state(self, cell):
        own = jax.eval_shape(cell.init_state)
        return as_precision(self.learned, precision(own))


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
