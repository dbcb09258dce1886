"""Shared by the tests of training: models, batches, a loss, and comparisons.

Numbers are drawn by NumPy, and programs are cached, since most of the time of such a test goes to
compiling.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import seqmem
from tests.helpers.cells import CELLS

BATCH = 3


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def draw_parameters(make):
    """The model that `make` returns, with parameters drawn by NumPy."""
    shapes = eqx.filter_eval_shape(make)
    rng = np.random.default_rng(5)

    def fill(leaf):
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        assert jnp.issubdtype(leaf.dtype, jnp.inexact)
        values = 0.5 * rng.normal(size=leaf.shape)
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            values = values + 0.5j * rng.normal(size=leaf.shape)
        return jnp.asarray(values, leaf.dtype)

    return jax.tree.map(fill, shapes)


def make_cell(name):
    """A cell of the list, with parameters drawn by NumPy."""
    return draw_parameters(CELLS[name])


def batch_for(cell, time, *, batch=BATCH):
    """Inputs, the weight of each step in the loss, and resets."""
    xs = draw(1, time, batch, *cell.input_shape)
    return {"xs": xs, "weights": draw(2, time, batch), "resets": draw(3, time, batch) > 1}


def state_for(cell, *, batch=BATCH):
    """An initial state, drawn."""
    shapes = jax.eval_shape(cell.init_state)
    return jax.tree.map(lambda leaf: jnp.asarray(draw(4, batch, *leaf.shape), leaf.dtype), shapes)


def as_float32(batch):
    """The batch in float32."""
    return jax.tree.map(
        lambda leaf: leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf, batch
    )


def weighted_sum(ys, weights):
    """Σ weight · sin(y), over all steps, examples and outputs."""
    return sum(
        jnp.sum(jnp.sin(y) * weights.reshape(weights.shape + (1,) * (y.ndim - weights.ndim)))
        for y in jax.tree.leaves(ys)
    )


def loss(cell, state, batch, lengths=None, **options):
    """The loss of one segment: total, weight, state."""
    xs, resets = batch["xs"], batch["resets"]
    state, ys = seqmem.unroll(cell, state, xs, lengths=lengths, resets=resets, **options)
    weight = xs.shape[0] * xs.shape[1] if lengths is None else jnp.sum(lengths)
    return weighted_sum(ys, jnp.asarray(batch["weights"])), weight, state


@functools.cache
def jitted(gradient):
    """`jax.jit(gradient)`, the same for equal gradients, so that tests share programs."""
    return jax.jit(gradient)


def assert_close(got, want, *, within=1e-12, may_be_nan=False):
    """Equal up to `within` of the largest entry of each leaf. Where `may_be_nan`, entries that are
    not finite in `want` are not finite in `got` either.
    """
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        is_finite = np.isfinite(b)
        assert may_be_nan or is_finite.all()
        largest = np.max(np.abs(b), initial=0, where=is_finite)
        np.testing.assert_allclose(a, b, rtol=0, atol=within * max(largest, 1e-3))


def assert_same_bits(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
