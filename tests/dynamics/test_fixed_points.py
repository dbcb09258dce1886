"""Fixed and slow points where they are known, and the modes of maps near them."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import dynamics
from seqmem.dynamics import _fixed_points
from tests.helpers.cells import CELLS
from tests.helpers.linear import linear_rnn
from tests.helpers.maps import MapCell, autonomous
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def cell_of(step, size):
    """A cell without input, and its input."""
    cell, xs = autonomous(step, jnp.zeros(size), 1)
    return cell, xs[0]


def scaled_tanh(w):
    """h' = tanh(w h), its input and starts."""
    cell = seqmem.RNN(1, 1, key=KEY)
    cell = eqx.tree_at(lambda cell: cell.U, cell, jnp.array([[w]]))
    return cell, np.zeros(1), np.linspace(-1.5, 1.5, 12)[:, None]


@functools.cache
def double_well():
    """Stable at (±1, 0), where the slopes are 0 and 0.5; a saddle at 0, slopes 1.5 and 0.5."""
    return cell_of(lambda s: jnp.stack([s[0] + 0.5 * (s[0] - s[0] ** 3), 0.5 * s[1]]), 2)


def grid(count):
    return jnp.stack([jnp.linspace(-1.5, 1.5, count), jnp.linspace(0.1, 0.9, count)], -1)


@pytest.mark.parametrize(
    ("w", "point", "slope"),
    [(2.0, 0.957504024077, 0.166372087752), (1.1, 0.502940574945, 0.821755855882)],
)
def test_fixed_points_of_a_scaled_tanh_are_known(w, point, slope):
    cell, x, starts = scaled_tanh(w)
    points = dynamics.fixed_points(cell, x, starts)
    order = np.argsort(points.vectors[:, 0])
    np.testing.assert_allclose(points.vectors[order, 0], [-point, 0, point], atol=1e-10)
    assert points.is_fixed.all()
    assert points.counts.sum() == 12
    assert points.counts[order[0]] == points.counts[order[2]] > 1
    modes = dynamics.linearise(cell, x, points.states).select(order)
    np.testing.assert_allclose(modes.eigenvalues[:, 0], [slope, w, slope], atol=1e-10)
    assert modes.kind.tolist() == ["stable", "unstable", "stable"]


@pytest.mark.slow
def test_linear_cell_has_one_fixed_point_with_the_modes_of_its_matrix():
    U = 0.7 * draw(2, 5, 5) / np.sqrt(5)
    cell, x = linear_rnn(U), draw(3, 2)
    points = dynamics.fixed_points(cell, x, draw(4, 3, 7, 5))
    expected = np.linalg.solve(np.eye(5) - U, np.asarray(cell.W) @ x + np.asarray(cell.b))
    np.testing.assert_allclose(points.vectors, expected[None], rtol=1e-10)
    assert points.counts.tolist() == [21]
    modes = dynamics.linearise(cell, x, points.states)
    (J,), (values,) = modes.jacobians, modes.eigenvalues
    (R,), (L,) = modes.right_eigenvectors, modes.left_eigenvectors
    np.testing.assert_allclose(J, U, rtol=1e-12)
    assert (np.diff(np.abs(values)) < 1e-12).all()
    expected = np.linalg.eigvals(U)
    np.testing.assert_allclose(np.sort_complex(values), np.sort_complex(expected), rtol=1e-10)
    np.testing.assert_allclose(J @ R, R * values, atol=1e-12)
    np.testing.assert_allclose(L @ J, values[:, None] * L, atol=1e-12)
    np.testing.assert_allclose(L @ R, np.eye(5), atol=1e-12)
    halves = np.abs(values) ** modes.half_lives[0]
    np.testing.assert_allclose(halves, 0.5, rtol=1e-12)
    np.testing.assert_allclose(np.abs(values) ** modes.time_constants[0], 1 / np.e, rtol=1e-12)


@pytest.mark.slow
def test_saddle_lies_between_two_stable_points():
    cell, x = double_well()
    points = dynamics.fixed_points(cell, x, grid(12))
    assert points.is_fixed.all()
    assert (np.diff(points.q) >= 0).all()
    nearest = np.linalg.norm(points.vectors[:, None] - grid(12), axis=-1).min(1)
    np.testing.assert_allclose(points.start_distance, nearest)
    order = np.argsort(points.vectors[:, 0])
    np.testing.assert_allclose(points.vectors[order], [[-1, 0], [0, 0], [1, 0]], atol=1e-10)
    modes = dynamics.linearise(cell, x, points.states).select(order)
    assert modes.kind.tolist() == ["stable", "saddle", "stable"]
    assert modes.num_unstable.tolist() == [0, 1, 0]
    np.testing.assert_allclose(modes.eigenvalues[1], [1.5, 0.5], rtol=1e-10)
    np.testing.assert_allclose(np.abs(modes.right_eigenvectors[1, :, 0]), [1, 0], atol=1e-12)


def test_points_within_the_distance_are_one():
    arguments = scaled_tanh(2.0)
    assert len(dynamics.fixed_points(*arguments, distance=0.9).q) == 3
    merged = dynamics.fixed_points(*arguments, distance=1.1)
    assert len(merged.q) < 3
    assert merged.counts.sum() == 12


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [("ENTRIES_AT_ONCE", 5 * 4), ("FIRST_STEPS", 3)])
def test_searches_in_groups_and_in_two_rounds_find_the_same_points(name, value, monkeypatch):
    cell, x = double_well()
    expected = dynamics.fixed_points(cell, x, grid(12))
    monkeypatch.setattr(_fixed_points, name, value)  # 5 of 12 starts at once, or more after 3 steps
    points = dynamics.fixed_points(cell, x, grid(12))
    assert sorted(points.counts) == sorted(expected.counts)
    assert points.is_fixed.all()
    np.testing.assert_allclose(np.sort(points.vectors, 0), np.sort(expected.vectors, 0), atol=1e-12)


@functools.cache
def near_bifurcation():
    """s' = s + (ε + s²) exp(−s²) with the input ε: q = ½ε² at its minimum, 0. It has no fixed
    point, but q falls to 0 far away, where a long step of Newton's method would go.
    """
    return MapCell(lambda s, x: s + (x + s**2) * jnp.exp(-(s**2)), jnp.zeros(1))


@pytest.mark.parametrize("speed", [1e-4, 1e-7])
def test_point_near_a_bifurcation_is_slow_and_not_fixed(speed):
    find = functools.partial(dynamics.fixed_points, near_bifurcation(), np.array([speed]))
    starts = jnp.array([[-0.3], [0.1], [0.2]])
    points = find(starts)
    np.testing.assert_allclose(points.q, [0.5 * speed**2], rtol=1e-3)
    assert points.is_slow.tolist() == points.converged.tolist() == [True]
    assert points.is_fixed.tolist() == [False]
    assert points.gradient_norm[0] <= 1e-3 * speed
    early = find(starts, max_steps=1)
    assert not early.converged.any()
    assert (early.q > points.q[0]).all()
    assert find(starts, tolerance=speed**2).is_fixed.tolist() == [True]


@pytest.mark.slow
def test_speed_never_grows_where_newton_steps_overshoot():
    """s' = s − arctan(s): Newton's method for arctan(s) = 0 diverges from |s| > 1.4."""
    cell, x = cell_of(lambda s: s - jnp.arctan(s), 1)
    speeds = [np.arctan(5.0) ** 2 / 2 * (1 + 1e-12)]  # NumPy rounds otherwise than JAX
    for max_steps in (1, 2, 3, 4, 5, 100):
        points = dynamics.fixed_points(cell, x, jnp.array([[5.0]]), max_steps=max_steps)
        assert points.q[0] <= speeds[-1]
        speeds.append(points.q[0])
    np.testing.assert_allclose(points.vectors, 0, atol=1e-10)


@pytest.mark.parametrize("name", [slow("LSTM"), slow("GRU"), slow("Stack"), slow("LTC")])
def test_point_is_the_state_that_a_long_run_settles_at(name):
    cell = CELLS[name]()
    x = seqmem.Timed(draw(1, 2), np.ones(())) if name == "LTC" else draw(1, 2)
    xs = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (2000, *leaf.shape)), x)
    state, _ = seqmem.unroll(cell, None, xs)
    few = jax.tree.map(lambda leaf: leaf[:7], xs)
    starts = seqmem.solve(cell, None, few, return_states=True).states
    points = dynamics.fixed_points(cell, x, starts)
    assert jax.tree.structure(points.states) == jax.tree.structure(state)
    jax.tree.map(
        lambda leaf, expected: np.testing.assert_allclose(leaf[0], expected, atol=1e-9),
        points.states,
        state,
    )
    np.testing.assert_array_equal(points.vectors, dynamics.state_vectors(cell, points.states))
    assert points.is_fixed[0]


def test_noise_follows_the_key():
    cell, x, starts = scaled_tanh(2.0)
    (point,) = dynamics.fixed_points(cell, x, 0 * starts).vectors
    np.testing.assert_array_equal(point, 0)
    points = [
        dynamics.fixed_points(cell, x, 0 * starts, noise=1.0, key=jax.random.key(seed))
        for seed in (1, 1, 0)
    ]
    assert len(points[0].q) == 3
    np.testing.assert_array_equal(points[0].counts, points[1].counts)
    assert points[0].start_distance.tolist() != points[2].start_distance.tolist()


def test_starts_that_are_not_finite_are_dropped():
    cell, x, starts = scaled_tanh(2.0)
    starts[3] = np.nan
    points = dynamics.fixed_points(cell, x, starts)
    assert points.counts.sum() == 11
    assert np.isfinite(points.start_distance).all()
    starts[:] = np.inf
    assert len(dynamics.fixed_points(cell, x, starts).q) == 0


@pytest.mark.slow
def test_float32_finds_the_points_too():
    cell, xs = autonomous(lambda s: jnp.tanh(2 * s), jnp.zeros(1, jnp.float32), 1)
    starts = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
    points = dynamics.fixed_points(cell, xs[0], starts)
    assert points.vectors.dtype == np.float32
    assert points.is_fixed.tolist() == [True] * 3
    modes = dynamics.linearise(cell, xs[0], points.states)
    assert modes.time_constants.dtype == modes.half_lives.dtype == np.float32


def test_time_constants_of_special_moduli():
    cell, x = cell_of(lambda s: jnp.array([1.0, 0, 2]) * s, 3)
    modes = dynamics.linearise(cell, x, jnp.zeros((2, 7, 3)))
    assert modes.kind.shape == (2, 7)
    np.testing.assert_allclose(modes.time_constants[1, 3], [-1 / np.log(2), np.inf, 0])


def test_left_eigenvectors_of_a_defective_jacobian_are_nan():
    cell, x = cell_of(lambda s: jnp.array([[1.0, 1], [0, 1]]) @ s, 2)
    modes = dynamics.linearise(cell, x, jnp.zeros(2))
    assert np.isnan(modes.left_eigenvectors).all()
    assert np.isfinite(modes.right_eigenvectors).all()


def test_state_vectors_are_rows_of_all_entries():
    cell = CELLS["LSTM"]()
    c, h = draw(1, 3, 5), draw(2, 3, 5)
    state = jax.tree.unflatten(jax.tree.structure(cell.init_state()), [c, h])
    np.testing.assert_array_equal(dynamics.state_vectors(cell, state), np.concatenate([c, h], 1))


def counter():
    return autonomous(lambda s: s + 1, np.zeros(3, np.int32), 1)[0]


def complex_cell():
    return MapCell(lambda s, x: 0.5 * s, np.zeros(3, complex))


def partly_counter():
    start = (np.zeros(3), np.zeros((), np.int32))
    return MapCell(lambda s, x: (s[0], s[1] + 1), start)


@pytest.mark.parametrize(
    "call",
    [
        lambda cell, x, s: dynamics.fixed_points(seqmem.GRU, x, s),
        lambda cell, x, s: dynamics.fixed_points(
            counter(), np.zeros(0), np.zeros((2, 3), np.int32)
        ),
        lambda cell, x, s: dynamics.fixed_points(
            partly_counter(), np.zeros(0), (np.zeros((2, 3)), np.zeros(2, np.int32))
        ),
        lambda cell, x, s: dynamics.fixed_points(complex_cell(), np.zeros(0), np.zeros(3, complex)),
        lambda cell, x, s: dynamics.fixed_points(
            eqx.tree_at(lambda cell: cell.c, cell, seqmem.PerExample(jnp.zeros((7, 5)))), x, s
        ),
        lambda cell, x, s: dynamics.fixed_points(cell, np.zeros(3), s),
        lambda cell, x, s: dynamics.fixed_points(cell, np.zeros((7, 2)), s),
        lambda cell, x, s: dynamics.fixed_points(cell, x, s[:, :4]),
        lambda cell, x, s: dynamics.fixed_points(cell, x, s[:0]),
        lambda cell, x, s: dynamics.fixed_points(cell, x, (s, s)),
        lambda cell, x, s: dynamics.fixed_points(cell, x, s, noise=0.1),
        lambda cell, x, s: dynamics.fixed_points(cell, x, s, noise=-0.1, key=KEY),
        lambda cell, x, s: dynamics.fixed_points(cell, x, s, key=KEY),
        lambda cell, x, s: dynamics.fixed_points(cell, x, s, tolerance=0.0),
        lambda cell, x, s: dynamics.fixed_points(cell, x, s, gradient_tolerance=-1.0),
        lambda cell, x, s: dynamics.fixed_points(cell, x, s, distance=0.0),
        lambda cell, x, s: dynamics.fixed_points(cell, x, s, max_steps=0),
        lambda cell, x, s: dynamics.linearise(cell, x, s[:, :4]),
        lambda cell, x, s: dynamics.linearise(cell, x, s.at[0, 0].set(jnp.nan)),
        lambda cell, x, s: dynamics.state_vectors(cell, s.astype(np.float32)),
    ],
)
def test_search_without_points_is_refused(call):
    assert_refused("", call, CELLS["GRU"](), np.zeros(2), jnp.zeros((7, 5)))
