"""Lyapunov exponents and Jacobians where they are known.

Sources: Newman 1986, Communications in Mathematical Physics 103 (random products); Sompolinsky,
Crisanti & Sommers 1988, Physical Review Letters 61 (chaos in random networks).
"""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS
from jax.flatten_util import ravel_pytree
from jax.scipy.special import digamma
from jaxtyping import Array

import seqmem
from seqmem import gradients

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


class Map(seqmem.AbstractCell):
    """s_t = step(s_{t−1}, x_t)."""

    step: Callable = eqx.field(static=True)
    start: Array

    def init_state(self):
        return self.start

    def project(self, x):
        return x

    def update(self, state, x):
        return self.step(state, x)

    def readout(self, state, x):
        return state


class Products(Map):
    input_axes: ClassVar = 2


def autonomous(step, start, time):
    cell = Map(lambda state, x: step(state), start)
    return gradients.lyapunov(cell, start, jnp.zeros((time, 0)), key=KEY)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.1])
def test_exponents_of_a_scaled_rotation_are_the_log_of_the_scale(gain):
    cell = seqmem.RNN(2, 5, activation=lambda z: z, key=KEY)
    cell = eqx.tree_at(lambda cell: cell.U, cell, gain * cell.U)
    found = gradients.lyapunov(cell, cell.init_state(), draw(1, 200, 2), chunk=50, key=KEY)
    np.testing.assert_allclose(found.exponents, np.log(gain), atol=1e-12)
    np.testing.assert_allclose(found.standard_errors, 0, atol=1e-12)
    assert (found.participation > 1 / 5).all()
    assert (found.participation <= 1).all()


def test_spectrum_of_random_products_is_newmans():
    n, time = 8, 60_000
    factors = draw(1, time, n, n) / np.sqrt(n)
    cell = Products(lambda state, x: x @ state, jnp.ones(n))
    # The state itself would overflow or vanish: only its direction matters, and none at 0.
    found = gradients.lyapunov(cell, jnp.zeros(n), factors, key=KEY)
    places = jnp.arange(1, n + 1)
    want = 0.5 * (jnp.log(2 / n) + digamma((n - places + 1) / 2))
    assert (jnp.abs(found.exponents - want) < 4 * found.standard_errors).all()
    assert found.standard_errors.max() < 0.005


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "Stack"])
def test_exponents_add_up_to_the_determinants(name):
    cell = CELLS[name]()
    state, xs = cell.init_state(), draw(1, 103, cell.input_size)
    found = gradients.lyapunov(cell, state, xs, chunk=20, key=KEY)
    jacobians = gradients.state_jacobians(cell, state, xs)
    volume = gradients.log_determinants(jacobians)
    np.testing.assert_allclose(found.exponents.sum(), volume.mean(), rtol=1e-10)


def test_known_maps_have_their_exponents():
    logistic = autonomous(lambda s: 4 * s * (1 - s), jnp.array([0.3]), 100_000)
    np.testing.assert_allclose(logistic.exponents, np.log(2), atol=4 * logistic.standard_errors[0])
    cat = autonomous(lambda s: (jnp.array([[2.0, 1], [1, 1]]) @ s) % 1, jnp.array([0.1, 0.3]), 3000)
    want = np.log((3 + np.sqrt(5)) / 2)
    np.testing.assert_allclose(cat.exponents, [want, -want], atol=2e-3)
    henon = autonomous(
        lambda s: jnp.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]]), jnp.zeros(2), 3000
    )
    np.testing.assert_allclose(henon.exponents.sum(), np.log(0.3), rtol=1e-12)
    np.testing.assert_allclose(henon.exponents[0], 0.419, atol=0.02)


def test_leading_exponents_are_the_first_of_all():
    cell, xs = CELLS["LSTM"](), draw(1, 2000, 2)
    every = gradients.lyapunov(cell, cell.init_state(), xs, key=KEY)
    some = gradients.lyapunov(cell, cell.init_state(), xs, k=3, key=jax.random.key(5))
    assert (jnp.diff(every.exponents) < 0).all()
    np.testing.assert_allclose(some.exponents, every.exponents[:3], atol=2e-3)


def test_chunks_and_batches_change_no_exponent():
    cell, xs = CELLS["GRU"](), draw(1, 101, 3, 2)
    both = gradients.lyapunov(cell, cell.init_state(), xs, chunk=17, key=KEY)
    for example in range(3):
        alone = gradients.lyapunov(cell, cell.init_state(), xs[:, example], chunk=200, key=KEY)
        np.testing.assert_allclose(both.exponents[example], alone.exponents, rtol=1e-11)
        np.testing.assert_allclose(both.state[example], alone.state, rtol=1e-12)
        assert np.isnan(alone.standard_errors).all()
    final, _ = seqmem.unroll(cell, cell.init_state(), xs)
    np.testing.assert_allclose(both.state, final, rtol=1e-12)


def chaos(gain, size, seed):
    W = gain * draw(seed, size, size) / np.sqrt(size)
    return Map(lambda h, x: W @ jnp.tanh(h), draw(seed + 100, size))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gain", "mean_field", "within"),
    [(2, 0.154724, 0.04), (3, 0.310249, 0.01), (5, 0.532428, 0.01)],
)
def test_a_random_network_is_chaotic_as_mean_field_says(gain, mean_field, within):
    cell = chaos(gain, 1000, seed=1)
    settled = gradients.lyapunov(cell, cell.start, jnp.zeros((300, 0)), k=1, key=KEY)
    found = gradients.lyapunov(cell, settled.state, jnp.zeros((2000, 0)), k=1, key=KEY)
    np.testing.assert_allclose(found.exponents[0], mean_field, rtol=within)


def test_a_random_network_below_the_edge_fades_with_its_spectral_radius():
    cell = chaos(0.8, 50, seed=2)
    W = jax.jacfwd(lambda h: cell.step(h, None))(jnp.zeros(50))
    radius = jnp.abs(jnp.linalg.eigvals(W)).max()
    found = gradients.lyapunov(cell, 0 * cell.start, jnp.zeros((5000, 0)), k=2, key=KEY)
    np.testing.assert_allclose(found.exponents[0], jnp.log(radius), atol=2e-3)


def test_a_long_memory_is_a_steep_one():
    """E9: h' = λh + x with white x: E[h²] = 1/(1−λ²), E[(dh/dλ)²] = (1+λ²)/(1−λ²)³."""
    rate, time = 0.9, 200_000
    xs = draw(1, time, 1)

    def run(rate):
        cell = seqmem.RNN(1, 1, activation=lambda z: z, key=KEY)
        cell = eqx.tree_at(
            lambda cell: (cell.U, cell.W), cell, (rate * jnp.ones((1, 1)), jnp.ones((1, 1)))
        )
        return seqmem.unroll(cell, jnp.zeros(1), xs, method=seqmem.Scan("autodiff"))[1][:, 0]

    hs, slopes = jax.jvp(run, (jnp.asarray(rate),), (jnp.ones(()),))
    for squares, want in (
        (hs**2, 1 / (1 - rate**2)),
        (slopes**2, (1 + rate**2) / (1 - rate**2) ** 3),
    ):
        batches = squares[200 * 1000 % time :].reshape(-1, 1000).mean(1)
        error = batches.std(ddof=1) / np.sqrt(len(batches))
        np.testing.assert_allclose(batches.mean(), want, atol=4 * error)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "Stack"])
def test_transitions_are_what_a_vjp_through_time_multiplies_by(name):
    cell = CELLS[name]()
    state, xs = cell.init_state(), draw(1, 7, 3, cell.input_size)
    products = gradients.transitions(gradients.state_jacobians(cell, state, xs))
    flat, unflat = ravel_pytree(state)

    def last(v, example):
        return ravel_pytree(seqmem.unroll(cell, unflat(v), xs[:, example])[0])[0]

    for example in range(3):
        want = jax.jacrev(last)(flat, example)
        np.testing.assert_allclose(products[0, example], want, rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(products[-1, 0], jnp.eye(len(flat)))


@pytest.mark.parametrize(
    "ask",
    [
        lambda cell, xs: gradients.lyapunov(cell, cell.init_state(), xs, k=6, key=KEY),
        lambda cell, xs: gradients.lyapunov(cell, cell.init_state(), xs, k=0, key=KEY),
        lambda cell, xs: gradients.lyapunov(cell, cell.init_state(), xs[:0], key=KEY),
        lambda cell, xs: gradients.lyapunov(
            seqmem.LRU(2, 3, key=KEY), seqmem.LRU(2, 3, key=KEY).init_state(), xs, key=KEY
        ),
    ],
    ids=["too many", "none", "no time", "a complex state"],
)
def test_what_has_no_exponents_is_refused(ask):
    with pytest.raises(ValueError, match=r"(?s)Expected: .*What to do: "):
        ask(CELLS["GRU"](), draw(1, 9, 2))
