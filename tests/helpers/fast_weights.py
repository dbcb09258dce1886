"""Runs of fast weights by two methods, and their comparison."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

import seqmem
from tests.helpers.given_writes import GivenWrites


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def outputs_and_gradients(method, cell, state, write, lengths=None, resets=None, *, reverse=False):
    """Final state, outputs, and the gradients of the learned memory, the state and the writes."""

    def run(learned, state, write):
        return seqmem.unroll(
            GivenWrites(learned, cell.write_shape),
            state,
            write,
            lengths=lengths,
            resets=resets,
            reverse=reverse,
            method=method,
        )

    out, pull = jax.vjp(run, cell.learned, state, write)
    leaves, tree = jax.tree.flatten(out)
    weights = [jnp.asarray(draw(n, *a.shape), a.dtype) for n, a in enumerate(leaves)]
    return out, pull(tree.unflatten(weights))


def assert_trees_close(got, want, tolerance):
    def close(a, b):
        a, b = np.asarray(a), np.asarray(b)
        assert np.isfinite(b).all()
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(initial=1))

    chex.assert_trees_all_equal_structs(got, want)
    jax.tree.map(close, got, want)
