"""What one chunk of a fast-weight memory hands to the next: its scale, and whether it is lost."""

import itertools

import jax
import numpy as np
import pytest

import seqmem
from seqmem._cells.fast_weights.chunkwise.group import _lost_between
from seqmem._cells.fast_weights.chunkwise.retention import Resets
from seqmem._cells.fast_weights.chunkwise.stabilizer import scale_maps

CHUNKS, STEPS = 5, 3


@pytest.mark.parametrize("has_resets", [False, True])
def test_memory_is_lost_from_a_bad_write_to_the_next_reset(has_resets):
    rng = np.random.default_rng(3)
    for _ in range(20):
        at_start, overflows = rng.random((1, 1)) < 0.3, rng.random((CHUNKS, 1, 1)) < 0.1
        is_bad = rng.random((CHUNKS, STEPS, 1)) < 0.1
        is_reset = (rng.random((CHUNKS, STEPS, 1)) < 0.2) & has_resets
        resets = Resets(is_reset, np.cumsum(is_reset, -2), None) if has_resets else None
        got = np.asarray(_lost_between(at_start, is_bad, overflows, resets)).ravel()
        is_lost, borders = at_start.item(), [at_start.item()]
        for chunk in range(CHUNKS):
            for step in range(STEPS):
                is_lost = (is_lost and not is_reset[chunk, step]) or is_bad[chunk, step].item()
            is_lost = is_lost or overflows[chunk].item()
            borders.append(is_lost)
        np.testing.assert_array_equal(got, borders)


@pytest.mark.parametrize(
    ("has_gain", "has_decay"), list(itertools.product([False, True], [False, True]))
)
def test_scale_is_the_largest_of_the_decayed_scale_and_the_gain(has_gain, has_decay):
    rng = np.random.default_rng(5)
    value, key = rng.normal(size=(STEPS, 4)), rng.normal(size=(STEPS, 2))
    gain, decay = rng.normal(size=(2, STEPS, 1)) * np.reshape([has_gain, has_decay], (2, 1, 1))
    write = seqmem.Write(key, key, value, decay if has_decay else None)
    write = write._replace(log_gain=gain if has_gain else None)
    maps = jax.tree.map(np.asarray, scale_maps(np.zeros((1, 1)), write, None))
    m = start = 0.7
    for t in range(STEPS):
        m = max(decay[t, 0] + m, gain[t, 0])
        assert maps.shift[t].shape == (1,)
        np.testing.assert_allclose(max(maps.shift[t, 0] + start, maps.floor[t, 0]), m, rtol=1e-5)
