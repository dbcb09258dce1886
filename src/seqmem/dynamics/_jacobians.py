"""Jacobians of the steps along a trajectory, and their products."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.arguments import check_run
from .._core.batching import vmap_batch
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import leading_axes
from ..dynamics._trajectory import states_before
from ._step_map import step_map


def state_jacobians(
    cell: AbstractCell, state: State, xs: PyTree, **options: Any
) -> Float[Array, "time *batch n n"]:
    """J_t = ∂s_t/∂s_{t−1} along the trajectory from `state` over `xs`.

    n is the number of floating point entries of one state, in the order of
    `jax.flatten_util.ravel_pytree`. All J_t are held: time · n² numbers per sequence; `lyapunov_exponents`
    needs none of them.

    Args:
        cell: the cell.
        state: the state before the first step.
        xs: the inputs, [time, *batch, ...].
        options: `lengths`, `resets` and `reverse` of the run, and its `method`. In the padding a
            state is held, and J_t = 1. A J_t does not look at whether a reset comes before it, and
            with `reverse` it is ∂s_t/∂s_{t+1}.

    Raises:
        ValueError: where `unroll` raises one, and for a state that is complex or has no floating
            point entry.

    Example:
        >>> import jax, seqmem
        >>> cell, xs = seqmem.LSTM(3, 5, key=jax.random.key(0)), jax.numpy.ones((7, 3))
        >>> seqmem.dynamics.state_jacobians(cell, cell.init_state(), xs).shape
        (7, 10, 10)
    """
    check_run(cell, state, xs)
    flat = step_map(cell)
    time, *batch = leading_axes(cell, xs)
    before = states_before(cell, state, xs, **options)

    def one(cell: AbstractCell, state: State, x: PyTree) -> Array:
        own = step_map(cell)
        return jax.jacfwd(own.moved(state, x))(own.flat(state))

    jacobians = vmap_batch(one, cell, len(batch), time=True)(before, xs)
    lengths = options.get("lengths")
    if lengths is None:
        return jacobians
    hold = jnp.arange(time).reshape(-1, *[1] * len(batch)) >= jnp.clip(lengths, 0, time)
    identity = jnp.eye(flat.size, dtype=jacobians.dtype)
    return jnp.where(hold[..., None, None], identity, jacobians)


def transitions(
    jacobians: Float[Array, "time *batch n n"],
) -> Float[Array, "time+1 *batch n n"]:
    """∂s_T/∂s_t = J_T ⋯ J_{t+1} for t = 0 … T: how the last state depends on each before it.

    ‖∂s_T/∂s_t‖ is `jnp.linalg.norm(..., axis=(-2, -1))` of it, or 2-norm and all other singular
    values `jnp.linalg.svd(..., compute_uv=False)`; the smallest of a long product drown in the
    rounding of the largest: `lyapunov_exponents` keeps them. The Jacobians are those of a run forward in
    time without resets; of one with `reverse`, flip them first.

    Raises:
        ValueError: where the Jacobians are not square.

    Example:
        >>> import jax.numpy as jnp, seqmem
        >>> halves = jnp.broadcast_to(0.5 * jnp.eye(2), (3, 2, 2))
        >>> seqmem.dynamics.transitions(halves)[:, 0, 0].tolist()
        [0.125, 0.25, 0.5, 1.0]
    """
    _check_square(jacobians)
    n = jacobians.shape[-1]
    last = jnp.broadcast_to(jnp.eye(n, dtype=jacobians.dtype), jacobians.shape[1:])

    def back(product: Array, jacobian: Array) -> tuple[Array, Array]:
        product = product @ jacobian
        return product, product

    _, products = jax.lax.scan(back, last, jacobians, reverse=True)
    return jnp.concatenate([products, last[None]])


def log_determinants(jacobians: Float[Array, "time *batch n n"]) -> Float[Array, "time *batch"]:
    """ln |det J_t|: its mean over time is the sum of all Lyapunov exponents (Oseledets 1968).

    It is 0 in the padding, where J_t = 1: with `lengths`, divide the sum by them instead.

    Raises:
        ValueError: where the Jacobians are not square.

    Example:
        >>> import jax.numpy as jnp, seqmem
        >>> halves = jnp.broadcast_to(0.5 * jnp.eye(2), (3, 2, 2))
        >>> jnp.exp(seqmem.dynamics.log_determinants(halves)).tolist()
        [0.25, 0.25, 0.25]
    """
    _check_square(jacobians)
    return jnp.linalg.slogdet(jacobians)[1]


def _check_square(jacobians: Array) -> None:
    shape = jnp.shape(jacobians)
    if len(shape) < 3 or shape[-1] != shape[-2]:
        raise bad_input(
            f"jacobians of shape {shape}.",
            "[time, *batch, n, n].",
            "take them from state_jacobians.",
        )
