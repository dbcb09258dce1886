"""The state before each step of a run, against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.dynamics._trajectory import states_before
from tests.helpers.cells import CELLS

TIME, BATCH = 7, 3
LENGTHS = np.array([TIME, 4, 0])

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def loop_states_before(step, init, state, xs, resets, valid, reverse):
    """{t: the state before step t} of one sequence, for its valid steps."""
    states, previous = {}, None
    steps = [t for t in range(TIME) if valid[t]]
    for t in reversed(steps) if reverse else steps:
        follows_reset = (previous is not None and resets[previous]) if reverse else resets[t]
        state = init if follows_reset else state
        states[t] = state
        state, _ = step(state, xs[t])
        previous = t
    return states


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("has_mask", [False, True])
def test_states_before_each_step_match_a_loop(reverse, has_mask):
    cell = CELLS["LSTM"]()
    step = jax.jit(lambda state, x: cell(state, x))
    xs, resets = draw(1, TIME, BATCH, 2), draw(2, TIME, BATCH) > 0.7
    mask = draw(3, TIME, BATCH) > -0.5
    assert not mask[: LENGTHS[1], 1].all()
    assert resets[:4, 1].any()
    options = {"lengths": LENGTHS, "resets": resets, "reverse": reverse}
    options |= {"mask": mask} if has_mask else {}
    state = jax.tree.map(lambda leaf: jnp.asarray(draw(4, *leaf.shape)), cell.init_state())
    before = jax.device_get(states_before(cell, state, xs, **options))
    for example, length in enumerate(LENGTHS):
        valid = (np.arange(TIME) < length) & (mask[:, example] if has_mask else True)
        expected = loop_states_before(
            step, cell.init_state(), state, xs[:, example], resets[:, example], valid, reverse
        )
        for t, expected_state in expected.items():
            for leaf, expected_leaf in zip(before, expected_state, strict=True):
                np.testing.assert_allclose(leaf[t, example], expected_leaf, rtol=1e-12, atol=1e-14)
    assert all(np.isfinite(leaf).all() for leaf in before)


def test_states_before_start_from_the_initial_state_by_default():
    cell, xs = seqmem.with_learned_state(CELLS["MGU"](), jnp.arange(5.0)), draw(1, TIME, 2)
    np.testing.assert_array_equal(states_before(cell, None, xs)[0], np.arange(5.0))
