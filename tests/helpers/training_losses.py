"""What tests of training share: a loss of a cell, a batch for it, and numbers."""

import jax
import jax.numpy as jnp
import numpy as np

import seqmem

BATCH = 3


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def batch_for(cell, time, *, batch=BATCH):
    """Inputs, how much each step counts, and resets."""
    xs = draw(1, time, batch, *cell.input_shape)
    return {"xs": xs, "share": draw(2, time, batch), "resets": draw(3, time, batch) > 1}


def state_for(cell, *, batch=BATCH):
    return jax.tree.map(
        lambda leaf: jnp.asarray(draw(4, batch, *leaf.shape), leaf.dtype), cell.init_state()
    )


def shown(ys, share):
    """Σ share · sin(y), over all steps, examples and outputs."""
    return sum(
        jnp.sum(jnp.sin(y) * share.reshape(share.shape + (1,) * (y.ndim - share.ndim)))
        for y in jax.tree.leaves(ys)
    )


def loss(cell, state, batch, lengths=None, **options):
    """The loss of one part: total, weight, state."""
    xs, resets = batch["xs"], batch["resets"]
    state, ys = seqmem.unroll(cell, state, xs, lengths=lengths, resets=resets, **options)
    weight = xs.shape[0] * xs.shape[1] if lengths is None else jnp.sum(lengths)
    return shown(ys, jnp.asarray(batch["share"])), weight, state


def agree(got, want, *, within=1e-12, padded=False):
    """To `within` of the largest entry of each leaf; NaN only where there is padding, in both."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        known = np.isfinite(b)
        assert padded or known.all()
        largest = np.max(np.abs(b), initial=0, where=known)
        np.testing.assert_allclose(a, b, rtol=0, atol=within * max(largest, 1e-3))


def same_bits(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
