"""The strides that a window of truncated BPTT repeats."""

import jax.numpy as jnp

from seqmem.training._past_strides import PastStrides


def add(state, batch, lengths):
    return state + batch.sum()


def test_strides_of_one_array_enter_one_by_one_and_are_run_again():
    past = PastStrides.empty(jnp.float32(0), jnp.full(3, 100.0), None, strides=2)
    past = past.push(past.state, jnp.full(3, 1.0), None)
    assert past.count == 1
    newest, oldest = past.rerun(add)  # the empty slot is run, and dropped
    assert (newest, oldest) == (3, 0)
    for start in (0, 3):
        past = past.push(jnp.float32(start), jnp.full(3, 2.0), None)
    assert past.count == 2
    newest, oldest = past.rerun(add)
    assert (newest, oldest) == (3 + 12, 3 + 6)
