"""States as vectors, for instruments that work on one array."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.arguments import check_arrays, check_layer, check_state
from .._core.batching import vmap_axes
from .._core.cell import AbstractCell
from .._core.problem import State
from ._step_map import StepMap


def state_vectors(cell: AbstractCell, states: State) -> Float[Array, "*leading n"]:
    """States as vectors of their n floating point entries, in the order of `ravel_pytree`.

    Args:
        cell: the cell.
        states: a tree like `cell.init_state()` with any axes in front, such as the states
            [time, *batch, ...] of `seqmem.solve(..., return_states=True)`.

    Raises:
        ValueError: for another tree, shape or dtype, and for a state that is complex or has no
            floating point entry.

    Example:
        >>> import jax, seqmem
        >>> cell, xs = seqmem.LSTM(3, 5, key=jax.random.key(0)), jax.numpy.ones((7, 2, 3))
        >>> solution = seqmem.solve(cell, None, xs, return_states=True)
        >>> seqmem.dynamics.state_vectors(cell, solution.states).shape
        (7, 2, 10)
    """
    leading = axes_of_states(cell, states)
    states = jax.tree.map(jnp.asarray, states)
    return vmap_axes(StepMap.of(cell).vector, len(leading))(states)


def axes_of_states(cell: AbstractCell, states: State) -> tuple[int, ...]:
    """The axes in front of a tree of states, on which all leaves agree.

    Raises:
        ValueError: where it is no tree of states of the cell.
    """
    check_layer(cell)
    check_arrays(states=states)
    one_state = jax.eval_shape(lambda cell: cell.init_state(), cell)
    leaves, own_leaves = jax.tree.leaves(states), jax.tree.leaves(one_state)
    leading = ()
    if leaves and own_leaves:
        leading = leaves[0].shape[: max(leaves[0].ndim - own_leaves[0].ndim, 0)]
    check_state("states", one_state, states, leading, may_share=False)
    return leading
