"""Products and determinants of the Jacobians along a trajectory."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.errors import bad_input


def transitions(
    jacobians: Float[Array, "time *batch n n"],
) -> Float[Array, "time+1 *batch n n"]:
    """∂s_T/∂s_t = J_T ⋯ J_{t+1} for t = 0 … T: how the last state depends on each earlier one.

    `jnp.linalg.norm(..., axis=(-2, -1))` gives their Frobenius norms, and
    `jnp.linalg.svd(..., compute_uv=False)` their singular values. The smallest singular values of a
    long product are lost in the rounding of the largest; `lyapunov_exponents` resolves them.

    Args:
        jacobians: those of a run forward in time without resets. For a run with `reverse`, flip
            them along time first.

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
    identity = jnp.broadcast_to(jnp.eye(n, dtype=jacobians.dtype), jacobians.shape[1:])

    def multiply(product: Array, jacobian: Array) -> tuple[Array, Array]:
        product = product @ jacobian
        return product, product

    _, products = jax.lax.scan(multiply, identity, jacobians, reverse=True)
    return jnp.concatenate([products, identity[None]])


def log_determinants(jacobians: Float[Array, "time *batch n n"]) -> Float[Array, "time *batch"]:
    """ln |det J_t|: its mean over time is the sum of all Lyapunov exponents (Oseledets 1968).

    It is 0 at padded steps, where J_t is the identity, so with `lengths` the mean is the sum
    divided by the lengths.

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
            "pass the result of state_jacobians.",
        )
