"""What tests of unroll share: small cells, numbers, gradients of everything."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem

TIME, BATCH, INPUT, HIDDEN = 7, 3, 2, 5
REFERENCE = seqmem.ReferenceScan()
METHODS = (seqmem.Scan(), seqmem.Scan(tile=5), seqmem.Scan(recompute=True), REFERENCE)
every_method = pytest.mark.parametrize("method", METHODS, ids=repr)


def make(cell_type=seqmem.RNN, *sizes):
    return cell_type(INPUT, HIDDEN, *sizes, key=jax.random.key(0))


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape)


def close(got, want):
    chex.assert_trees_all_close(got, want, rtol=1e-10, atol=1e-13)


def gradients(cell, state, xs, **options):
    """The gradients of parameters, state and inputs, of everything that unroll returns."""

    def loss(cell, state, xs):
        out = seqmem.unroll(cell, state, xs, **options)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out))

    return jax.grad(loss, (0, 1, 2))(cell, state, xs)
