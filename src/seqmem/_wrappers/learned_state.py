"""A learned initial state."""

import jax
import jax.numpy as jnp

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.precision import as_precision, precision
from .._core.problem import State
from .._core.shapes import tree_names
from .wrapper import AbstractWrapper, WrappedCell


class _LearnedState(AbstractWrapper):
    learned: State

    def init_state(self, cell):
        return as_precision(self.learned, precision(jax.eval_shape(cell.init_state)))


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
    init = cell.init_state()
    state = init if state is None else state
    if jax.tree.map(jnp.shape, init) != jax.tree.map(jnp.shape, state):
        raise bad_input(
            f"with_learned_state got {tree_names(state)}.",
            f"the tree and shapes of the cell's init_state(), {tree_names(init)}.",
            "change the values of cell.init_state(), not its shapes.",
        )
    return WrappedCell(cell, _LearnedState(jax.tree.map(jnp.copy, state)))
