"""A Δt per step: `Timed` inputs, their checks, and cells that are discretised in each step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but

TIME, BATCH, INPUT = 7, 3, 2
KEY = jax.random.key(0)
DIAGONAL = {
    "S4D": lambda: seqmem.S4D(INPUT, 5, key=KEY),
    "S5": lambda: seqmem.S5(INPUT, 5, key=KEY),
    "LRU": lambda: seqmem.LRU(INPUT, 5, key=KEY),
}
CELLS = DIAGONAL | {
    "LinOSSIM": lambda: seqmem.LinOSSIM(INPUT, 5, key=KEY),
    "LinOSSIMEX": lambda: seqmem.LinOSSIMEX(INPUT, 5, key=KEY),
    "DLinOSS": lambda: seqmem.DLinOSS(INPUT, 5, key=KEY),
}


def timed(delta_t):
    """Inputs of 1 with given Δt."""
    return seqmem.Timed(np.ones((*np.shape(delta_t), INPUT), np.float32), np.asarray(delta_t))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", slow_but({"S5"}, CELLS))
def test_delta_t_of_1_is_the_cell_itself(name):
    cell = CELLS[name]()
    xs = np.random.default_rng(0).normal(size=(TIME, BATCH, INPUT))
    expected = seqmem.unroll(cell, None, xs)
    got = seqmem.unroll(seqmem.with_delta_t(cell), None, seqmem.Timed(xs, np.ones((TIME, BATCH))))
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def state_after(cell, state, delta_ts, x=0.0):
    cell = seqmem.with_delta_t(cell)
    for delta_t in delta_ts:
        state, _ = cell(state, seqmem.Timed(jnp.full(INPUT, x), jnp.asarray(delta_t)))
    return state


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", slow_but({"S5"}, DIAGONAL))
def test_decay_over_a_gap_is_that_over_its_parts(name):
    """exp(−Δt/τ) in one step or in n steps of Δt/n, without input."""
    cell, rng = DIAGONAL[name](), np.random.default_rng(1)
    start = jnp.asarray(rng.normal(size=cell.init_state().shape) + 0j)
    whole = state_after(cell, start, [2.5])
    assert abs(whole - start).max() > 0.01
    for parts in ([0.5] * 5, [0.1, 0.0, 1.4, 1.0]):
        np.testing.assert_allclose(state_after(cell, start, parts), whole, rtol=1e-10)
    np.testing.assert_allclose(state_after(cell, start, [0.0]), start, rtol=1e-14)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", slow_but({"S5"}, ["S4D", "S5"]))
def test_input_is_held_over_the_gap(name):
    cell = DIAGONAL[name]()
    start = cell.init_state()
    np.testing.assert_allclose(
        state_after(cell, start, [0.5] * 5, 0.7), state_after(cell, start, [2.5], 0.7), rtol=1e-10
    )


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_hidden_state_of_gru_d_decays_over_a_gap_as_over_its_parts():
    """With weights of 0 the update gate mixes half of a candidate of 0 in, in each step."""
    cell = seqmem.GRUD(INPUT, 5, key=KEY)
    rates = cell.D
    cell = jax.tree.map(jnp.zeros_like, cell)
    cell = eqx.tree_at(lambda cell: cell.D, cell, rates)

    def h_after(delta_ts):
        state = cell.init_state()._replace(h=jnp.arange(1.0, 6.0))
        for delta_t in delta_ts:
            x = seqmem.Observed(jnp.zeros(INPUT), jnp.ones(INPUT, bool))
            state, _ = cell(state, seqmem.Timed(x, jnp.asarray(delta_t)))
        return 2 ** len(delta_ts) * state.h

    np.testing.assert_allclose(h_after([0.5] * 5), h_after([2.5]), rtol=1e-10)
    np.testing.assert_allclose(
        h_after([2.5]), np.arange(1, 6) * np.exp(-2.5 * rates.sum(1)), rtol=1e-12
    )


BAD = [0.5, 0.1, 0.2, -0.25, 0.0, 1.0, 2.0]


def test_delta_t_below_0_is_refused_where_its_value_is_known():
    cell = seqmem.with_delta_t(seqmem.LRU(INPUT, 5, key=KEY))
    delta_t = np.stack([np.ones(TIME), BAD], 1).astype(np.float32)
    xs = timed(delta_t)
    message = "delta_t is -0.25 at [time, *batch] = [3, 1]"
    assert_refused(message, seqmem.unroll, cell, None, xs)
    assert_refused(message, seqmem.solve, cell, None, jax.tree.map(jnp.asarray, xs))
    assert_refused(message, seqmem.unroll, cell, None, xs, lengths=[7, 4])
    nan = np.where(delta_t < 0, np.nan, delta_t)
    assert_refused("delta_t is nan at", seqmem.unroll, cell, None, timed(nan))
    # Where it is padding nothing is wrong, and where it is traced nothing is known.
    valid = delta_t >= 0
    assert np.isfinite(seqmem.unroll(cell, None, xs, lengths=[7, 3])[1]).all()
    assert np.isfinite(seqmem.unroll(cell, None, timed(nan), mask=valid)[1]).all()
    jax.eval_shape(lambda xs: seqmem.unroll(cell, None, xs)[1], xs)


def test_unusable_timed_inputs_are_refused():
    cell = seqmem.CfC(INPUT, 5, backbone_size=3, key=KEY)
    x, delta_t = timed(np.ones((TIME, BATCH), np.float32))
    for name, xs in {
        "xs is a tree {array (7, 3, 2)}": x,
        "delta_t is int32": seqmem.Timed(x, np.ones((TIME, BATCH), np.int32)),
        "xs.delta_t has shape ()": seqmem.Timed(x, np.float32(1)),
        "the leaves of xs disagree on time and batch": seqmem.Timed(x, delta_t[:, 0]),
        "xs.x has shape (7, 3, 1)": seqmem.Timed(x[..., :1], delta_t),
    }.items():
        assert_refused(name, seqmem.unroll, cell, None, xs)
    xs = seqmem.Timed(seqmem.Observed(x, x), delta_t)
    assert_refused("is_observed is float32", seqmem.unroll, seqmem.GRUD(2, 5, key=KEY), None, xs)
    one = seqmem.Timed(x[0, 0], delta_t[0, :1])
    assert_refused("CfC got an input.delta_t of shape (1,)", cell, cell.init_state(), one)


def test_cell_without_a_length_of_step_is_refused():
    assert_refused("with_delta_t got a MinGRU", seqmem.with_delta_t, seqmem.MinGRU(2, 5, key=KEY))
