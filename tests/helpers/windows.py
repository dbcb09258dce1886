"""Shared by tests of window cells: random arrays, and cells without a parameter that is 0."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.random.key(0)
TIME = 23


def in_float64(cell):
    """The cell in float64, with noise on every parameter, so that none is 0."""
    rng = np.random.default_rng(5)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.3 * rng.normal(size=leaf.shape)), cell)


def normal(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape))


def close(got, want):
    chex.assert_trees_all_close(got, want, rtol=1e-10, atol=1e-13)
