"""All states of a dense affine recurrence at once are those of one step after another."""

import jax.numpy as jnp
import numpy as np
import pytest

from seqmem._methods.dense_recurrence import dense_affine_states

SIZE = 3

pytestmark = pytest.mark.usefixtures("float64")


def one_by_one(A, b, cut, reverse):
    states, state = np.zeros_like(b), np.zeros(SIZE)
    for t in reversed(range(len(b))) if reverse else range(len(b)):
        state = b[t] if cut[t] else A[t] @ state + b[t]
        states[t] = state
    return states


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("time", [1, 3, 4, 5, 23])
def test_states_are_those_of_a_loop(time, reverse, block):
    rng = np.random.default_rng(time)
    A, b = rng.normal(size=(time, SIZE, SIZE)), rng.normal(size=(time, SIZE))
    for cut in (rng.random(time) < 0.3, np.zeros(time, bool)):
        given = cut if cut.any() else None
        states = dense_affine_states(A, b, given, reverse=reverse, block=block)
        np.testing.assert_allclose(states, one_by_one(A, b, cut, reverse), rtol=1e-11)


@pytest.mark.parametrize("block", [2, 4, 16])
def test_nothing_passes_a_cut(block):
    A = jnp.full((9, 2, 2), jnp.nan).at[5:].set(0.5 * jnp.eye(2))
    cut = jnp.zeros(9, bool).at[4].set(True)
    states = dense_affine_states(A, jnp.ones((9, 2)), cut, block=block)
    np.testing.assert_allclose(states[4:, 0], [1, 1.5, 1.75, 1.875, 1.9375])
