"""Covariant Lyapunov vectors where they are known, and the laws that define them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import dynamics
from seqmem.dynamics import CovariantVectors
from tests.helpers.cells import CELLS
from tests.helpers.maps import MapCell, autonomous

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)
COUNTER = MapCell(lambda state, x: state + 1, np.zeros(3, np.int32))
REFUSAL = r"(?s)^[^\n]+\n  Expected: .*\n  What to do: "


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def vectors_of(run, **options):
    cell, xs = run
    return dynamics.covariant_vectors(cell, None, xs, key=KEY, **options)


def test_vectors_of_a_linear_map_are_its_eigenvectors():
    """Not those of its symmetric part: the matrix is far from normal."""
    values = np.array([1.25, -0.8, 0.5, 0.2])
    eigenvectors = draw(1, 4, 4)
    eigenvectors /= np.linalg.norm(eigenvectors, axis=0)
    matrix = jnp.asarray(eigenvectors @ np.diag(values) @ np.linalg.inv(eigenvectors))
    result = vectors_of(autonomous(lambda s: matrix @ s, jnp.zeros(4), 205), washout=100)
    cosines = jnp.abs((result.vectors * eigenvectors).sum(-2))
    np.testing.assert_allclose(cosines, 1, rtol=1e-12)
    np.testing.assert_allclose(result.log_growth, jnp.broadcast_to(np.log(abs(values)), (5, 4)))
    expected = np.arccos(np.abs(eigenvectors.T @ eigenvectors).clip(max=1) - 1e-300)
    np.testing.assert_allclose(result.angles()[0], expected, atol=1e-7)


@pytest.mark.slow
@pytest.mark.optimised
def test_vectors_of_the_cat_map_are_its_eigenvectors():
    matrix = jnp.array([[2.0, 1], [1, 1]])
    result = vectors_of(
        autonomous(lambda s: (matrix @ s) % 1, jnp.array([0.1, 0.3]), 63), washout=30
    )
    golden = (1 + np.sqrt(5)) / 2
    expected = np.array([[golden, 1], [1, -golden]]).T / np.sqrt(1 + golden**2)
    np.testing.assert_allclose(jnp.abs(result.vectors), jnp.abs(expected)[None].repeat(3, 0))
    np.testing.assert_allclose(result.angles()[:, 0, 1], np.pi / 2, rtol=1e-12)
    np.testing.assert_allclose(result.splitting_angle(1), np.pi / 2, rtol=1e-7)
    rate = 2 * np.log(golden)
    np.testing.assert_allclose(result.log_growth, [[rate, -rate]] * 3, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RNN", "LSTM"])
def test_step_maps_each_vector_to_a_multiple_of_the_next(name):
    cell, xs = CELLS[name](), draw(1, 17, 2, 2)
    result = vectors_of((cell, xs), washout=5, k=3)
    jacobians = jax.jit(dynamics.state_jacobians)(cell, None, xs)[6:12]
    V, growth = result.vectors, jnp.exp(result.log_growth)
    assert V.shape[0] == 7
    np.testing.assert_allclose(jnp.linalg.norm(V, axis=-2), 1, rtol=1e-12)
    np.testing.assert_allclose(jacobians @ V[:-1], V[1:] * growth[1:, :, None], atol=1e-12)


@pytest.mark.slow
@pytest.mark.optimised
def test_growth_of_the_vectors_of_the_henon_map_has_the_exponents_as_its_mean():
    def henon(s):
        return jnp.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]])

    result = vectors_of(autonomous(henon, jnp.zeros(2), 6000), washout=1000)
    means = result.log_growth.mean(0)
    np.testing.assert_allclose(means[0], 0.4192, atol=0.02)
    # ln |det J| differs from the sum of growths by the change of the angle, which has mean 0.
    np.testing.assert_allclose(means.sum(), np.log(0.3), atol=2e-3)
    angle = result.splitting_angle(1)
    np.testing.assert_allclose(angle, result.angles()[:, 0, 1], rtol=1e-6)
    assert angle.min() < 0.05  # near-tangencies: the map is not hyperbolic
    areas = jnp.log(jnp.sin(angle))  # of the parallelogram that the two vectors span
    np.testing.assert_allclose(
        result.log_growth[1:].sum(-1) + jnp.diff(areas), np.log(0.3), atol=1e-8
    )


@pytest.mark.slow
def test_vector_of_a_direction_that_steps_map_to_zero_is_finite():
    """diag(0.9, 0) with a column between: the second vector is the kernel."""
    matrix = jnp.array([[0.9, 0.9], [0.0, 0.0]])
    result = vectors_of(autonomous(lambda s: matrix @ s, jnp.zeros(2), 25), washout=10)
    kernel = np.array([1, -1]) / np.sqrt(2)
    np.testing.assert_allclose(jnp.abs(result.vectors[:, :, 1] @ kernel), 1, rtol=1e-10)
    assert (result.log_growth[:, 1] < -25).all()


@pytest.mark.slow
def test_splitting_angle_is_that_of_two_planes():
    """A plane and a line at 0.3 to it, then the line turned to 1e-6."""
    lines = [[0, np.cos(a), np.sin(a)] for a in (0.3, 1e-6)]
    V = np.stack([np.stack([[1, 0, 0], [0.6, 0.8, 0], line], axis=-1) for line in lines])
    result = CovariantVectors(jnp.asarray(V), jnp.zeros((2, 3)))
    np.testing.assert_allclose(result.splitting_angle(2), [0.3, 1e-6], rtol=1e-8)


@pytest.mark.parametrize(
    "options", [{"k": 4}, {"washout": 5}, {"washout": -1}, {"washout": 1.5}, {"cell": COUNTER}]
)
def test_vectors_without_steps_or_directions_are_refused(options):
    cell = options.pop("cell", seqmem.GRU(2, 3, key=KEY))
    with pytest.raises(ValueError, match=REFUSAL):
        dynamics.covariant_vectors(
            cell, None, np.ones((9, 2)), **{"washout": 2, "key": KEY} | options
        )


@pytest.mark.parametrize("m", [0, 3])
def test_split_without_two_sides_is_refused(m):
    with pytest.raises(ValueError, match=REFUSAL):
        CovariantVectors(jnp.ones((2, 3, 3)), jnp.zeros((2, 3))).splitting_angle(m)
