"""Dimension and entropy of known spectra and maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem import dynamics
from tests.helpers.maps import autonomous

pytestmark = pytest.mark.usefixtures("float64")

INF = np.inf


@pytest.mark.parametrize(
    ("exponents", "dimension", "entropy"),
    [
        ([0.5, 0.25, -1.0], 2.75, 0.75),
        ([-1.0, 0.25, 0.5], 2.75, 0.75),  # in any order
        ([0.5, 0.25, -0.25, -1.0], 3.5, 0.75),
        ([0.5, -0.5], 2, 0.5),  # a volume is kept
        ([0.0, -1.0], 1, 0),  # a limit cycle
        ([-0.1, -2.0], 0, 0),
        ([0.3], 1, 0.3),
        ([0.5, -INF], 1, 0.5),
        ([-INF, -INF], 0, 0),
        ([0.5, np.nan], np.nan, np.nan),
    ],
)
def test_dimension_and_entropy_of_a_spectrum(exponents, dimension, entropy):
    exponents = jnp.array(exponents)
    np.testing.assert_allclose(dynamics.kaplan_yorke_dimension(exponents), dimension, rtol=1e-15)
    np.testing.assert_allclose(dynamics.entropy_rate(exponents), entropy, rtol=1e-15)


def test_spectra_may_have_batch_axes():
    spectra = jnp.array([[[0.5, -1.0], [0.5, -2.0]], [[-1.0, -2.0], [0.0, -1.0]]])
    expected = [[1.5, 1.25], [0, 1]]
    np.testing.assert_allclose(dynamics.kaplan_yorke_dimension(spectra), expected, rtol=1e-15)
    np.testing.assert_allclose(dynamics.entropy_rate(spectra), [[0.5, 0.5], [0, 0]], rtol=1e-15)


@pytest.mark.slow
@pytest.mark.optimised
def test_dimension_of_the_henon_map_is_that_of_its_volume():
    """λ_1 + λ_2 = ln 0.3, so D = 1 + λ_1/(λ_1 − ln 0.3); with λ_1 = 0.4192 it is 1.258."""

    def henon(s):
        return jnp.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]])

    cell, xs = autonomous(henon, jnp.zeros(2), 20_000)
    result = dynamics.finite_time_exponents(cell, None, xs, window=500, key=jax.random.key(0))
    dimension, error = result.estimate(dynamics.kaplan_yorke_dimension)
    first = result.exponents[:, 0].mean()
    np.testing.assert_allclose(dimension, 1 + first / (first - np.log(0.3)), rtol=1e-12)
    np.testing.assert_allclose(dimension, 1.258, atol=4 * error)
    assert 0 < error < 0.004
