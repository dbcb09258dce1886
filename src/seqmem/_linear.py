"""The product that every cell is made of."""

import jax
from jaxtyping import Array, Float


def linear(W: Float[Array, "*gates out in"], x: Float[Array, "in"]) -> Float[Array, "*gates out"]:
    """`W @ x`, in the order of operands that keeps a batch of x first without a transposition."""
    return jax.lax.dot_general(x, W, (((0,), (W.ndim - 1,)), ((), ())))
