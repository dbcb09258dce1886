"""Jacobians of the steps along a trajectory."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.arguments import check_run
from .._core.batching import vmap_batch
from .._core.cell import AbstractCell
from .._core.problem import State
from .._core.shapes import leading_axes
from ._step_map import StepMap
from ._trajectory import states_before, valid_steps


def state_jacobians(
    cell: AbstractCell, state: State | None, xs: PyTree, **options: Any
) -> Float[Array, "time *batch n n"]:
    """J_t = ∂s_t/∂s_{t−1} along the trajectory from `state` over `xs`.

    n is the number of floating point entries of one state, in the order of
    `jax.flatten_util.ravel_pytree`. The result takes time · n² numbers per sequence;
    `lyapunov_exponents` works without it.

    Args:
        cell: the cell.
        state: the state before the first step; None is `cell.init_state()`.
        xs: the inputs, [time, *batch, ...].
        options: those of `seqmem.solve`. At padded steps the state does not change and J_t is the
            identity. J_t is the derivative of step t alone, so a reset before the step does not
            make it 0. With `reverse`, J_t is ∂s_t/∂s_{t+1}.

    Raises:
        ValueError: where `unroll` raises one, and for a state that is complex or has no floating
            point entry.

    Example:
        >>> import jax, seqmem
        >>> cell, xs = seqmem.LSTM(3, 5, key=jax.random.key(0)), jax.numpy.ones((7, 3))
        >>> seqmem.dynamics.state_jacobians(cell, None, xs).shape
        (7, 10, 10)
    """
    check_run(cell, state, xs)
    size = StepMap.of(cell).size
    leading = leading_axes(cell.input_shape, xs)
    before = states_before(cell, state, xs, **options)

    def jacobian(cell: AbstractCell, state: State, x: PyTree) -> Float[Array, "n n"]:
        step_map = StepMap.of(cell)
        return jax.jacfwd(step_map.map_at(state, x))(step_map.vector(state))

    jacobians = vmap_batch(jacobian, cell, len(leading) - 1, time=True)(before, xs)
    if options.get("lengths") is None and options.get("mask") is None:
        return jacobians
    valid = valid_steps(leading, **options)
    return jnp.where(valid[..., None, None], jacobians, jnp.eye(size, dtype=jacobians.dtype))
