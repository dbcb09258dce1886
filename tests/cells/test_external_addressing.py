"""The addressing of NTM and DNC, and the allocation of slots, at the edges of their domains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem._cells.external import addressing, allocation

SIZE = 3


# Addressing


@pytest.mark.usefixtures("float64")
def test_cosine_similarity_is_the_cosine_of_vectors_that_are_not_short():
    rng = np.random.default_rng(0)
    keys, memory = rng.normal(size=(2, SIZE)), rng.normal(size=(5, SIZE))
    memory[0] *= 1.01e-3 / np.linalg.norm(memory[0])
    lengths = np.linalg.norm(keys, axis=1)[:, None] * np.linalg.norm(memory, axis=1)
    cosines = addressing.cosine_similarity(jnp.asarray(keys), jnp.asarray(memory))
    np.testing.assert_allclose(cosines, keys @ memory.T / lengths, rtol=1e-14)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("factor", [0.0, 1e-300])
def test_cosine_similarity_of_short_vectors_has_a_known_gradient(factor):
    rng = np.random.default_rng(1)
    k, m = rng.normal(size=SIZE), factor * rng.normal(size=SIZE)
    d_k, d_m = jax.grad(
        lambda k, m: addressing.cosine_similarity(k[None], m[None])[0, 0], argnums=(0, 1)
    )(jnp.asarray(k), jnp.asarray(m))
    unit = k / np.linalg.norm(k)
    np.testing.assert_allclose(d_m, 1e3 * unit, rtol=1e-14)
    across = (m - unit * (unit @ m)) / np.linalg.norm(k)
    np.testing.assert_allclose(d_k, 1e3 * across, rtol=1e-12, atol=0)


@pytest.mark.slow
def test_gradients_of_content_weightings_are_finite_at_zeros_and_large_strengths():
    def entropy(keys, strengths, memory):
        w = addressing.focus_by_content(keys, strengths, memory)
        return jnp.sum(w[:, 0]) + jnp.sum(w**2)

    keys = jnp.zeros((2, SIZE)).at[1, 0].set(1e19)
    memory = jnp.zeros((5, SIZE)).at[2, 1].set(1e-30)
    gradients = jax.grad(entropy, argnums=(0, 1, 2))(keys, jnp.array([1e4, 1e4]), memory)
    assert all(np.isfinite(leaf).all() for leaf in gradients)


def test_shift_moves_a_weighting_around_the_circle():
    w = jnp.eye(5)[jnp.array([1, 4])]
    moved = addressing.shift(w, jnp.eye(5)[jnp.array([0, 3])])  # by −2 and by +1
    np.testing.assert_array_equal(moved.argmax(-1), [4, 0])
    np.testing.assert_array_equal(moved.sum(-1), [1, 1])


@pytest.mark.usefixtures("float64")
def test_sharpened_weighting_is_a_ratio_of_powers():
    rng = np.random.default_rng(2)
    w, gamma = rng.uniform(0, 1, (3, 7)), rng.uniform(1, 5, 3)
    powers = w ** gamma[:, None]
    sharp = addressing.sharpen(jnp.asarray(w), jnp.asarray(gamma))
    np.testing.assert_allclose(sharp, powers / powers.sum(1, keepdims=True), rtol=1e-14)


@pytest.mark.slow
def test_sharpening_survives_zeros_and_powers_that_underflow():
    w = jnp.array([[0.0, 1.0e-3, 1.1e-3, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, -1e-8, 0.0, 0.0]])
    gamma = jnp.array([40.0, 3.0, 1.5])  # 0.0011⁴⁰ is 0 in float32, (−10⁻⁸)^1.5 is no number

    def first_moment(w, gamma):
        return jnp.sum(addressing.sharpen(w, gamma) * jnp.arange(4.0))

    sharp = addressing.sharpen(w, gamma)
    np.testing.assert_allclose(sharp.sum(-1), [1, 0, 1], rtol=1e-6)
    p = 1 / (1 + 1.1**40)
    np.testing.assert_allclose(sharp[0, 1], p, rtol=1e-4)
    d_w, d_gamma = jax.grad(first_moment, argnums=(0, 1))(w, gamma)
    assert np.isfinite(d_w).all()
    expected = [0, -p * (1 - p) * 40 / 1e-3, p * (1 - p) * 40 / 1.1e-3, 0]
    np.testing.assert_allclose(d_w[0], expected, rtol=1e-4)
    np.testing.assert_allclose(d_gamma, [p * (1 - p) * np.log(1.1), 0, 0], rtol=1e-4)


# Allocation


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "usage", [[0.3, 0.9, 0.1, 0.5], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0.5, 0]]
)
def test_allocation_by_sorting_matches_the_products_over_all_pairs(usage):
    """Slot j comes before slot i where it is used less, or as much and stands before it."""

    def by_pairs(u):
        i, j = np.indices((4, 4))
        comes_before = (u < u[:, None]) | ((u == u[:, None]) & (j < i))
        return (1 - u) * jnp.prod(jnp.where(comes_before, u, 1), axis=1)

    usage = jnp.asarray(usage, float)
    np.testing.assert_allclose(allocation.allocate(usage), by_pairs(usage), rtol=0, atol=1e-15)
    d_usage, expected = jax.jacobian(allocation.allocate)(usage), jax.jacobian(by_pairs)(usage)
    np.testing.assert_allclose(d_usage, expected, rtol=0, atol=1e-15)


def test_links_and_precedence_follow_the_order_of_the_writes():
    links, precedence = jnp.zeros((5, 5)), jnp.zeros(5)
    for slot in (3, 0, 4, 0):
        links, precedence = allocation.update_links(links, precedence, jnp.eye(5)[slot])
    expected = np.zeros((5, 5))
    expected[0, 4] = 1  # the second write to slot 0 removed its links to slots 3 and 4
    np.testing.assert_array_equal(links, expected)
    np.testing.assert_array_equal(precedence, np.eye(5)[0])


def test_usage_grows_by_writes_and_is_freed_by_reads():
    usage = allocation.update_usage(
        jnp.array([0.5, 0.5, 0.0]),
        jnp.array([0.5, 0.0, 1.0]),
        jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        jnp.array([1.0, 0.25]),
    )
    np.testing.assert_allclose(usage, [0.75, 0, 0.75])
