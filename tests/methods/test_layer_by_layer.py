"""`LayerByLayer` runs networks, also those that have no single step."""

import jax
import jax.numpy as jnp

import seqmem
from seqmem.layers import Bidirectional, LayerByLayer


def test_layer_without_a_single_step_runs_layer_by_layer():
    keys = jax.random.split(jax.random.key(0))
    layer = Bidirectional(*(seqmem.MinGRU(2, 5, key=key) for key in keys))
    run = lambda xs: seqmem.unroll(layer, None, xs, method=LayerByLayer())[1]  # noqa: E731
    assert jax.eval_shape(run, jnp.ones((7, 3, 2))).shape == (7, 3, 10)
