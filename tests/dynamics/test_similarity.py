"""Similarity of two systems: invariances, known values, and the program of Ostrow et al."""

import pathlib

import jax
import numpy as np
import pytest

from seqmem import dynamics
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)
REFERENCE = np.load(pathlib.Path(__file__).parent.parent / "reference/dynamical_similarity.npz")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def rotation(seed, n):
    return np.linalg.qr(draw(seed, n, n))[0]


def linear_trajectories(A, seed, time=61, batch=5):
    states = [draw(seed, batch, len(A))]
    for _ in range(time - 1):
        states.append(states[-1] @ A.T)
    return np.stack(states)


def similarity(xs, ys, delays=1, rank=3, **options):
    return dynamics.dynamical_similarity(xs, ys, delays=delays, rank=rank, key=KEY, **options)


def test_cka_of_a_hand_case():
    X = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    Y = np.array([[1.0], [0], [-1], [0]])  # ‖YᵀX‖ = 2, ‖XᵀX‖ = √8, ‖YᵀY‖ = 2
    np.testing.assert_allclose(dynamics.linear_cka(X, Y), 4 / (8**0.5 * 2), rtol=1e-12)


def test_cka_is_invariant_to_rotation_scale_and_shift_alone():
    X, Y = draw(1, 13, 2, 5), draw(2, 13, 2, 3)
    cka = dynamics.linear_cka(X, Y)
    moved = dynamics.linear_cka(7 * X @ rotation(3, 5) + draw(4, 5), -0.1 * Y)
    np.testing.assert_allclose(moved, cka, rtol=1e-12)
    np.testing.assert_allclose(dynamics.linear_cka(X, X @ rotation(3, 5)), 1, rtol=1e-12)
    assert abs(dynamics.linear_cka(X @ np.diag([9, 1, 1, 1, 1]), Y) - cka) > 0.01


def test_similar_systems_have_the_angle_0():
    """The same linear map in other coordinates, from other states, without delays."""
    A = 0.99 * rotation(1, 3) + 0.1 * draw(2, 3, 3)
    A /= np.abs(np.linalg.eigvals(A)).max() * 1.02
    xs = linear_trajectories(A, 5)
    result = similarity(xs, 3 * xs @ rotation(4, 3))
    np.testing.assert_allclose(result.angle, 0, atol=1e-6)
    np.testing.assert_allclose(result.distance, 0, atol=1e-6)
    np.testing.assert_allclose(result.C @ result.C.T, np.eye(3), atol=1e-9)
    other = similarity(xs, linear_trajectories(A @ rotation(6, 3), 5))
    assert other.angle > 0.05
    np.testing.assert_allclose(
        other.distance, np.linalg.norm(other.A - other.C @ other.B @ other.C.T), rtol=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, slow(-1)])
def test_angle_of_two_planar_rotations_is_the_difference_of_their_angles(sign):
    """For rotations by a and b, ⟨A, C B Cᵀ⟩ = 2 cos(a − b); a reflection turns b to −b."""

    def circle(w):
        t = w * np.arange(2000)  # whole turns, and none of the two directions is longer
        return np.stack([np.cos(t), np.sin(t)], 1)

    a, b = 2 * np.pi * 0.05, sign * 2 * np.pi * 0.16
    result = similarity(circle(a), circle(b), rank=2)
    np.testing.assert_allclose(result.angle, abs(b) - a, atol=1e-3)


PAIRS = [(0, 1), slow(0, 2), slow(1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize(("i", "j"), PAIRS)
def test_similarity_is_at_most_that_of_the_program_of_ostrow(i, j):
    xs, ys = REFERENCE[f"xs{i}"], REFERENCE[f"xs{j}"]
    result = similarity(xs, ys, delays=5, rank=6, num_starts=16)
    for ours, name in ((result.A, f"A{i}"), (result.B, f"A{j}")):  # in float32, with norm 1
        expected = np.abs(REFERENCE[name])
        np.testing.assert_allclose(np.abs(ours) / np.linalg.norm(ours), expected, atol=1e-4)
    assert result.angle <= REFERENCE["angles"][i, j] + 1e-3
    assert result.angle >= REFERENCE["angles"][i, j] - 0.05


def test_refusals():
    xs = draw(1, 7, 2)
    cka = dynamics.linear_cka
    assert_refused("linear_cka got states of shapes (7, 2) and (6, 2)", cka, xs, xs[1:])
    assert_refused("linear_cka got states of shapes (1, 2)", cka, xs[:1], xs[:1])
    assert_refused("dynamical_similarity got rank=0", similarity, xs, xs, rank=0)
    long = "dynamical_similarity got ys of shape (7, 2) and delays=7"
    assert_refused(long, similarity, draw(1, 9, 2), xs, delays=7)
    assert_refused("dynamical_similarity got rank=3 for xs", similarity, xs, xs, rank=3)
