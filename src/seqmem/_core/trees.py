"""The norm of a tree, also where the square of an entry would overflow."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree


def tree_norm(
    tree: PyTree[Inexact[Array, "..."]], leading_axes: int = 0
) -> Float[Array, "*leading"]:
    """The 2-norm over all leaves, and over all axes after the first `leading_axes`.

    Entries are divided by the largest one before they are squared: gradients over time reach
    1e±30, whose squares float32 cannot hold. The norm of a tree with an entry that is not finite
    is not finite; that of a tree without leaves is 0. At 0 the derivative is 0.
    """
    leaves = jax.tree.leaves(tree)
    if not leaves:
        return jnp.zeros(())
    bits = max(jnp.finfo(leaf.dtype).bits for leaf in leaves)
    dtype = jnp.float64 if bits == 64 else jnp.float32
    summed_axes = [tuple(range(leading_axes, leaf.ndim)) for leaf in leaves]
    moduli = [jnp.abs(leaf).astype(dtype) for leaf in leaves]
    maxima = [m.max(axes, initial=0) for m, axes in zip(moduli, summed_axes, strict=True)]
    largest = functools.reduce(jnp.maximum, maxima)
    is_usable = (largest > 0) & jnp.isfinite(largest)
    scale = jax.lax.stop_gradient(jnp.where(is_usable, largest, jnp.ones_like(largest)))

    def sum_of_squares(modulus: Array, axes: tuple[int, ...]) -> Array:
        return jnp.square(modulus / jnp.expand_dims(scale, axes)).sum(axes)

    squares = sum(map(sum_of_squares, moduli, summed_axes), jnp.zeros_like(scale))
    is_zero = squares == 0
    return scale * jnp.where(is_zero, squares, jnp.sqrt(jnp.where(is_zero, 1, squares)))
