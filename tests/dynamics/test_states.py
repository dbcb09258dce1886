"""Burn-in, norms and drift of states, where the answer is known."""

import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import dynamics
from tests.helpers.cells import CELLS
from tests.helpers.linear import linear_rnn

TIME, BATCH, INPUT, HIDDEN = 32, 3, 2, 5

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_burn_in_is_the_step_from_which_the_outputs_agree():
    xs = draw(1, TIME, BATCH, INPUT)
    ones = jnp.ones(HIDDEN)  # at step t, the runs from 0 and from 1 differ by √5 · 0.5^(t+1)
    expected = int(np.ceil(np.log2(np.sqrt(HIDDEN) / 1e-3))) - 1
    decaying, constant = linear_rnn(0.5), linear_rnn(1.0)
    for cell, other_state, steps in (
        (decaying, ones, expected),
        (constant, ones, TIME),
        (decaying, jnp.zeros(HIDDEN), 0),
    ):
        burn_in = dynamics.burn_in(cell, None, other_state, xs, epsilon=1e-3)
        np.testing.assert_array_equal(burn_in, [steps] * BATCH)


def test_state_norms_and_drift_match_the_states():
    cell, xs = CELLS["LSTM"](), draw(1, TIME, BATCH, INPUT)
    states = seqmem.solve(cell, None, xs, return_states=True).states
    norms = dynamics.state_norms(cell, None, xs)
    np.testing.assert_allclose(norms.c, np.linalg.norm(states.c, axis=-1), rtol=1e-12)
    samples = np.concatenate([states.h, states.c], -1)[7::8]
    moves = np.linalg.norm(np.diff(samples, axis=0), axis=-1)
    expected = moves / np.linalg.norm(samples[1:], axis=-1)
    np.testing.assert_allclose(dynamics.drift(cell, None, xs, 8), expected, rtol=1e-12)


def test_state_norms_of_padding_are_zero():
    norms = dynamics.state_norms(
        CELLS["GRU"](), jnp.ones(HIDDEN), draw(1, 5, 2, INPUT), lengths=[5, 2]
    )
    np.testing.assert_array_equal(norms > 0, [[True, step < 2] for step in range(5)])


@pytest.mark.parametrize(
    "call",
    [
        lambda cell, xs: dynamics.drift(cell, None, xs, 3),
        lambda cell, xs: dynamics.drift(cell, None, xs, 0),
        lambda cell, xs: dynamics.burn_in(cell, None, jnp.ones(HIDDEN), xs, epsilon=0.0),
    ],
)
def test_windows_and_distances_out_of_range_are_refused(call):
    with pytest.raises(ValueError, match=r"(?s)Expected: .*What to do: "):
        call(linear_rnn(0.5), draw(1, 5, INPUT))
