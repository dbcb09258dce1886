"""Exponents of windows against those of the whole time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import dynamics
from seqmem.dynamics import FiniteTimeExponents
from tests.helpers.cells import CELLS
from tests.helpers.maps import MapCell

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)
COUNTER = MapCell(lambda state, x: state + 1, np.zeros(3, np.int32))

REFUSAL = r"(?s)^[^\n]+\n  Expected: .*\n  What to do: "


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.slow
def test_windows_have_the_mean_and_the_errors_of_the_whole_time():
    cell, xs = CELLS["RNN"](), draw(1, 35, 3, 2)
    windows = dynamics.finite_time_exponents(cell, None, xs, window=7, k=2, key=KEY)
    whole = dynamics.lyapunov_exponents(cell, None, xs, chunk_size=7, k=2, key=KEY)
    assert windows.exponents.shape == (5, 3, 2)
    mean, errors = windows.estimate(lambda exponents: exponents)
    np.testing.assert_allclose(mean, whole.exponents, rtol=1e-12)
    np.testing.assert_allclose(errors, whole.standard_errors, rtol=1e-10)
    np.testing.assert_allclose(windows.state, whole.state, rtol=1e-12)


@pytest.mark.slow
def test_steps_after_the_last_window_are_not_run():
    cell, xs = CELLS["RNN"](), draw(1, 9, 2)
    long = dynamics.finite_time_exponents(cell, None, xs, window=4, k=2, key=KEY)
    short = dynamics.finite_time_exponents(cell, None, xs[:8], window=4, k=2, key=KEY)
    jax.tree.map(np.testing.assert_array_equal, long, short)


def test_error_of_a_product_takes_the_correlation_into_account():
    """Windows with λ_2 = −λ_1 + 1 have a sum without error."""
    first = jnp.asarray(draw(1, 11))
    windows = FiniteTimeExponents(jnp.stack([first, 1 - first], axis=-1), None)
    value, error = windows.estimate(lambda exponents: exponents.sum(-1))
    np.testing.assert_allclose([value, error], [1, 0], atol=1e-15)
    _, error = windows._replace(exponents=windows.exponents[:1]).estimate(dynamics.entropy_rate)
    assert jnp.isnan(error)


def test_exponents_of_minus_infinity_leave_the_errors_of_the_others_as_they_are():
    first = jnp.asarray(draw(1, 11))
    lost = jnp.where(jnp.arange(11) == 4, -jnp.inf, -9.0)
    windows = FiniteTimeExponents(jnp.stack([first + 9, lost], axis=-1), None)
    value, error = windows.estimate(dynamics.entropy_rate)
    expected = np.std(first, ddof=1) / np.sqrt(11)
    np.testing.assert_allclose([value, error], [first.mean() + 9, expected], rtol=1e-12)


@pytest.mark.slow
def test_histogram_is_the_density_of_the_windows():
    samples = jnp.asarray(draw(1, 40, 3, 2)).at[0, 0, 1].set(-jnp.inf)
    density, edges = FiniteTimeExponents(samples, None).histogram(bins=8)
    finite = np.asarray(samples)[np.isfinite(samples)]
    np.testing.assert_allclose(edges[jnp.array([0, -1])], [finite.min(), finite.max()])
    for index, share in enumerate((1, 119 / 120)):
        values = np.asarray(samples[..., index]).ravel()
        counts, _ = np.histogram(values[np.isfinite(values)], np.asarray(edges))
        np.testing.assert_allclose(density[index] * jnp.diff(edges) * 120, counts, rtol=1e-12)
        np.testing.assert_allclose((density[index] * jnp.diff(edges)).sum(), share, rtol=1e-12)


@pytest.mark.parametrize("options", [{"k": 4}, {"window": 0}, {"window": 10}, {"cell": COUNTER}])
def test_windows_without_exponents_are_refused(options):
    options = {"cell": seqmem.GRU(2, 3, key=KEY), "window": 3, "key": KEY} | options
    with pytest.raises(ValueError, match=REFUSAL):
        dynamics.finite_time_exponents(state=None, xs=np.ones((9, 2)), **options)


def test_histogram_without_bins_is_refused():
    with pytest.raises(ValueError, match=REFUSAL):
        FiniteTimeExponents(jnp.ones((3, 2)), None).histogram(bins=0)
