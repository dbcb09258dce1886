"""Arrays split into heads, and the empty memory."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._core.precision import state_dtype
from .write import Memory


def empty_memory(num_heads: int, value_size: int, key_size: int, like: Array) -> Memory:
    """Matrices of zeros, in the state's precision for a cell with the parameters `like`."""
    return Memory(jnp.zeros((num_heads, value_size, key_size), state_dtype(like)))


def per_head(x: Float[Array, " width"], num_heads: int) -> Float[Array, "heads size"]:
    """A vector split evenly into heads."""
    return x.reshape(num_heads, -1)


def unit(x: Float[Array, "*lead size"], eps: float = 1e-6) -> Float[Array, "*lead size"]:
    """x / √(‖x‖² + ε): x / ‖x‖, and 0 at x = 0, where its derivatives are finite."""
    return x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) + eps)
