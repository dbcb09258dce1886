"""Calls of wrappers and of pooling that do not fit their signatures are refused in three parts."""

import jax
import numpy as np
import pytest

import seqmem
from seqmem.layers import pooling
from tests.helpers.refusals import assert_refused

WRAPPERS = [name for name in dir(seqmem) if name.startswith("with_")]
CELL = seqmem.GRU(2, 5, key=jax.random.key(0))


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrapper_without_a_cell_is_refused(name):
    came = f"seqmem.{name}(): missing a required argument: 'cell'."
    assert f"seqmem.{name}(cell" in assert_refused(came, getattr(seqmem, name))


@pytest.mark.parametrize(
    ("call", "came", "remedy"),
    [
        (
            lambda: seqmem.with_weight_dropout(CELL, 0.5),
            "seqmem.with_weight_dropout(<GRU>, 0.5): missing a required",
            "write seqmem.with_weight_dropout(<GRU>, 0.5, key=jax.random.key(0)).",
        ),
        (
            lambda: seqmem.with_weight_dropout(CELL, 0.5, key=3),
            "seqmem.with_weight_dropout got key=3.",
            "write seqmem.with_weight_dropout(<GRU>, 0.5, key=jax.random.key(3)).",
        ),
        (
            lambda: seqmem.with_gain(CELL, gian=2.0),
            "seqmem.with_gain(<GRU>, gian=2.0): missing a required argument: 'gain'.",
            "write gain= in place of gian=.",
        ),
        (
            lambda: seqmem.with_gain(CELL),
            "seqmem.with_gain(<GRU>): missing a required argument: 'gain'.",
            "write seqmem.with_gain(<GRU>, gain=...).",
        ),
        (
            lambda: pooling.last(np.ones((3, 2, 5)), length=np.array([1, 2])),
            "pooling.last(<float64 of shape (3, 2, 5)>, length=<int64 of shape (2,)>): got an",
            "write lengths= in place of length=.",
        ),
        (lambda: pooling.mean(), "pooling.mean(): missing", "write pooling.mean(ys=...)."),
        (
            lambda: pooling.Attention(dimensions=5),
            "pooling.Attention(dimensions=5): missing",
            "leave dimensions= out.",
        ),
        (
            lambda: pooling.Attention(5)(np.ones((3, 2, 5)), mask=None),
            "Attention(<float64 of shape (3, 2, 5)>, mask=None): got an",
            "leave mask= out.",
        ),
    ],
)
def test_call_that_does_not_fit_is_refused_with_a_remedy(call, came, remedy):
    assert assert_refused(came, call).endswith(f"What to do: {remedy}")
