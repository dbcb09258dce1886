"""Principal components and the participation ratio against NumPy's eigenvalues of a covariance."""

import jax.numpy as jnp
import numpy as np
import pytest

from seqmem import dynamics
from tests.helpers.refusals import assert_refused

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", [(11, 3, 5), (3, 7)])
def test_components_are_the_leading_eigenvectors_of_the_covariance(shape):
    vectors = draw(1, *shape) * np.arange(1, shape[-1] + 1)
    samples = vectors.reshape(-1, shape[-1])
    variances, directions = np.linalg.eigh(np.cov(samples.T))
    components = dynamics.principal_components(vectors, k=2)
    np.testing.assert_allclose(components.variances, variances[::-1][:2], rtol=1e-10)
    np.testing.assert_allclose(components.explained, (variances / variances.sum())[::-1][:2])
    np.testing.assert_allclose(
        np.abs(components.directions), np.abs(directions.T[::-1][:2]), atol=1e-10
    )
    assert (np.max(components.directions, 1) == np.max(np.abs(components.directions), 1)).all()
    projected = components.project(vectors)
    assert projected.shape == (*shape[:-1], 2)
    expected = (samples - samples.mean(0)) @ np.asarray(components.directions).T
    np.testing.assert_allclose(projected.reshape(-1, 2), expected, atol=1e-12)
    ratio = variances.sum() ** 2 / (variances**2).sum()
    np.testing.assert_allclose(dynamics.participation_ratio(vectors), ratio, rtol=1e-10)


def test_participation_ratio_does_not_depend_on_the_scale():
    vectors = draw(1, 11, 3)
    expected = dynamics.participation_ratio(vectors)
    np.testing.assert_allclose(dynamics.participation_ratio(1e200 * vectors), expected)
    assert np.isnan(dynamics.participation_ratio(np.ones((7, 3))))


@pytest.mark.parametrize(
    "call",
    [
        lambda: dynamics.principal_components(draw(1, 5)),
        lambda: dynamics.principal_components(draw(1, 1, 5)),
        lambda: dynamics.principal_components(jnp.ones((7, 3), int)),
        lambda: dynamics.principal_components(draw(1, 7, 3), k=4),
        lambda: dynamics.principal_components(draw(1, 3, 7), k=4),
        lambda: dynamics.principal_components(draw(1, 7, 3), k=0),
        lambda: dynamics.participation_ratio(draw(1, 7, 0)),
        lambda: dynamics.participation_ratio(draw(1, 7, 3) + 0j),
    ],
)
def test_vectors_without_components_are_refused(call):
    assert_refused("", call)
