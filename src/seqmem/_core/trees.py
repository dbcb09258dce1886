"""The size of a tree, also where its square would overflow."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree


def tree_norm(tree: PyTree[Inexact[Array, "..."]], kept: int = 0) -> Float[Array, "*kept"]:
    """The 2-norm over all leaves and all axes but the first `kept`; 0 without a leaf.

    The largest entry is taken out before squaring: gradients over time reach 1e±30, whose squares
    float32 lacks. A norm of something that is not finite is not finite.
    """
    leaves = jax.tree.leaves(tree)
    if not leaves:
        return jnp.zeros(())
    bits = max(jnp.finfo(leaf.dtype).bits for leaf in leaves)
    dtype = jnp.float64 if bits == 64 else jnp.float32
    axes = [tuple(range(kept, leaf.ndim)) for leaf in leaves]
    entries = [jnp.abs(leaf).astype(dtype) for leaf in leaves]
    parts = [e.max(own, initial=0) for e, own in zip(entries, axes, strict=True)]
    largest = functools.reduce(jnp.maximum, parts)
    usual = (largest > 0) & jnp.isfinite(largest)
    scale = jax.lax.stop_gradient(jnp.where(usual, largest, jnp.ones_like(largest)))

    def square(e: Array, own: tuple[int, ...]) -> Array:
        return jnp.square(e / jnp.expand_dims(scale, own)).sum(own)

    return scale * jnp.sqrt(sum(map(square, entries, axes), jnp.zeros_like(scale)))
