"""What several fast-weight cells are made of."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from .write import Memory


def empty_memory(heads: int, value_size: int, key_size: int, like: Array) -> Memory:
    """Matrices of zeros, in the precision of a state beside the parameters `like`."""
    return Memory(jnp.zeros((heads, value_size, key_size), state_dtype(like)))


def per_head(x: Float[Array, " width"], heads: int) -> Float[Array, "heads size"]:
    return x.reshape(heads, -1)


def unit(x: Float[Array, "*lead size"]) -> Float[Array, "*lead size"]:
    """x / ‖x‖, and 0 at 0 with its derivatives: x / √(‖x‖² + 10⁻⁶)."""
    return x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) + 1e-6)


def check_heads(name: str, width: int, heads: int) -> None:
    """Refuse a width that heads cannot share.

    Raises:
        ValueError: where `heads` is below 1 or does not divide `width`.
    """
    if heads < 1 or width % heads:
        raise bad_input(
            f"{name} got {heads} heads for a width of {width}.",
            "at least one head, and a width that they divide evenly.",
            "choose a number of heads that divides the width.",
        )
