"""Shared by the tests of saved arrays: a tree of every kind of array, and comparisons."""

import contextlib
import resource

import jax
import jax.numpy as jnp
import numpy as np
import optax

import seqmem
from tests.helpers.training_losses import draw, draw_parameters


def make_lstm(hidden=5):
    return draw_parameters(lambda: seqmem.LSTM(3, hidden, key=jax.random.key(0)))


def make_tree(seed, hidden=5):
    """Parameters, an optimiser's state, a cell's state, keys, a counter, bfloat16, no entries."""
    cell = jax.tree.map(lambda leaf: leaf + np.float32(seed), make_lstm(hidden))
    return {
        "cell": cell,
        "optimiser": optax.adam(1e-3).init(cell),
        "state": jax.tree.map(lambda leaf: leaf + np.float32(seed), cell.init_state()),
        "keys": jax.random.split(jax.random.key(seed), 7),
        "other key": jax.random.key(seed, impl="rbg"),
        "counter": jnp.array(seed, jnp.int32),
        "half": jnp.asarray(draw(seed, 2, 11), jnp.bfloat16),
        "empty": jnp.zeros((0, 3)),
        "bool": jnp.array([True, False]),
    }


def raw_leaves(tree):
    """The leaves as NumPy arrays, random keys as numbers."""
    return [
        np.asarray(jax.random.key_data(leaf) if "key<" in str(leaf.dtype) else leaf)
        for leaf in jax.tree.leaves(tree)
    ]


def assert_same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert (a.dtype, a.shape, a.sharding) == (b.dtype, b.shape, b.sharding)
    for a, b in zip(raw_leaves(one), raw_leaves(other), strict=True):
        assert a.tobytes() == b.tobytes()


@contextlib.contextmanager
def max_file_size(size):
    """The system refuses to write larger files, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
