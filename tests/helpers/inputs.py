"""Inputs of any cell of the list, also of one whose input is a tree with a Δt in it."""

import jax
import jax.numpy as jnp
import numpy as np

import seqmem


def draw_inputs(cell, rng, *leading):
    """Normal numbers, booleans where an entry may be missing, and a Δt of at least 0, with
    `leading` axes in front, in NumPy's float64.
    """
    return _draw(cell.input_shape, rng, leading)


def _draw(shape, rng, leading):
    if isinstance(shape, seqmem.Timed):
        return seqmem.Timed(_draw(shape.x, rng, leading), rng.random(leading))
    if isinstance(shape, seqmem.Observed):
        x = _draw(shape.x, rng, leading)
        return seqmem.Observed(x, rng.random(x.shape) < 0.5)
    return rng.normal(size=(*leading, *shape))


def ones_like_inputs(cell, *leading):
    """The same of ones, in JAX's default dtype."""

    def ones(leaf):
        return jnp.ones(leaf.shape, bool if leaf.dtype == bool else float)

    return jax.tree.map(ones, draw_inputs(cell, np.random.default_rng(0), *leading))
