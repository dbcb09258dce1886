"""Horizons of gradients, where the answer is known."""

import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import gradients
from tests.helpers.linear import linear_rnn

TIME, INPUT = 32, 2

pytestmark = pytest.mark.usefixtures("float64")


def final_loss(cell, xs, **options):
    return seqmem.unroll(cell, None, xs, **options)[0].sum()


def test_horizons_of_a_linear_network_are_those_of_its_powers():
    rate = np.exp(-1 / 5)  # the gradient at lag k is rate^k of that at lag 0
    _, _, flow = gradients.value_grad_and_flow(final_loss)(linear_rnn(rate), np.ones((TIME, INPUT)))
    curve = gradients.by_lag(flow.norm())
    horizons = gradients.gradient_horizons(curve, fraction=np.exp(-1) * (1 + 1e-9))
    np.testing.assert_allclose(horizons.decay, 5)
    np.testing.assert_allclose(horizons.half_life, 5 * np.log(2), rtol=1e-10)
    sums = np.cumsum(rate ** np.arange(TIME))
    np.testing.assert_allclose(horizons.mass, np.argmax(sums >= 0.99 * sums[-1]))


def test_half_life_ignores_lags_where_the_gradient_is_zero():
    lags = np.arange(11.0)
    curve = np.stack([0.5**lags, 0.5**lags, np.random.default_rng(1).uniform(1, 2, 11)], 1)
    curve[7:, 1] = 0  # underflow
    curve[[0, 2, 3], 2] = 0
    slopes = []
    for column in curve.T:
        is_positive = column > 0
        slopes.append(np.polyfit(lags[is_positive], np.log(column[is_positive]), 1)[0])
    half_life = gradients.gradient_horizons(jnp.asarray(curve)).half_life
    np.testing.assert_allclose(half_life, -np.log(2) / np.array(slopes), rtol=1e-10)
    np.testing.assert_allclose(half_life[:2], 1, rtol=1e-10)


def test_horizons_of_a_curve_that_grows_or_overflows_are_inf_or_nan():
    curve = jnp.stack([2.0 ** jnp.arange(9.0), jnp.full(9, jnp.inf)], 1)
    horizons = gradients.gradient_horizons(curve)
    np.testing.assert_array_equal(horizons.decay, [np.inf, np.nan])
    np.testing.assert_array_equal(horizons.mass[1], np.nan)
    np.testing.assert_allclose(horizons.half_life, [-1, np.nan])


def test_lags_are_counted_from_the_end_of_each_sequence():
    curve = jnp.array([[1.0, 1.0, 0.0], [2.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    by_lag = gradients.by_lag(curve, jnp.array([3, 1, 0]))
    np.testing.assert_array_equal(by_lag, [[3, 1, 0], [2, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(gradients.by_lag(curve), curve[::-1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: gradients.gradient_horizons(jnp.ones(3), epsilon=1.0),
        lambda: gradients.gradient_horizons(jnp.ones(3), fraction=0.0),
        lambda: gradients.gradient_horizons(jnp.ones((0, 2))),
        lambda: gradients.gradient_horizons(jnp.ones(())),
    ],
)
def test_horizon_arguments_out_of_range_are_refused(call):
    with pytest.raises(ValueError, match=r"(?s)Expected: .*What to do: "):
        call()
