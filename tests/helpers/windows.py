"""What tests of window cells share: numbers, and parameters none of which is 0."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.random.key(0)
TIME = 23


def in_float64(cell):
    """With nothing left at 0 that may be learned."""
    rng = np.random.default_rng(5)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.3 * rng.normal(size=leaf.shape)), cell)


def normal(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape))


def close(got, want):
    chex.assert_trees_all_close(got, want, rtol=1e-10, atol=1e-13)
