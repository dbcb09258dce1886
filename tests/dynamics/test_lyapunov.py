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
from tests.helpers.cells import CELLS
from jax.flatten_util import ravel_pytree
from jax.scipy.special import digamma
from jaxtyping import Array
from tests.helpers.slow import slow

import seqmem
from seqmem import gradients

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.optimised]

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


COUNTER = Map(lambda state, x: state + 1, np.zeros(3, np.int32))
LRU = seqmem.LRU(2, 3, key=KEY)


class Products(Map):
    input_axes: ClassVar = 2


def exponents(cell, xs, **options):
    return dynamics.lyapunov_exponents(cell, cell.init_state(), xs, key=KEY, **options)


def autonomous(step, start, time):
    return exponents(Map(lambda state, x: step(state), start), jnp.zeros((time, 0), start.dtype))


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.1])
def test_exponents_of_a_scaled_rotation_are_the_log_of_the_scale(gain):
    cell = seqmem.RNN(2, 5, activation=lambda z: z, key=KEY)
    cell = eqx.tree_at(lambda cell: cell.U, cell, gain * cell.U)
    found = exponents(cell, draw(1, 200, 2), remat_every=50)
    np.testing.assert_allclose(found.exponents, np.log(gain), atol=1e-12)
    np.testing.assert_allclose(found.standard_errors, 0, atol=1e-12)
    assert (found.participation > 1 / 5).all()
    assert (found.participation <= 1).all()


def test_spectrum_of_random_products_is_newmans():
    n, time = 8, 60_000
    factors = draw(1, time, n, n) / np.sqrt(n)
    cell = Products(lambda state, x: x @ state, jnp.ones(n))
    # The state itself would overflow or vanish: only its direction matters, and none at 0.
    found = dynamics.lyapunov_exponents(cell, jnp.zeros(n), factors, key=KEY)
    places = jnp.arange(1, n + 1)
    want = 0.5 * (jnp.log(2 / n) + digamma((n - places + 1) / 2))
    assert (jnp.abs(found.exponents - want) < 4 * found.standard_errors).all()
    assert found.standard_errors.max() < 0.005


@pytest.mark.parametrize("name", ["RNN", slow("LSTM"), slow("GRU"), "Stack"])
def test_exponents_add_up_to_the_determinants(name):
    cell = CELLS[name]()
    state, xs = cell.init_state(), draw(1, 103, cell.input_size)
    found = dynamics.lyapunov_exponents(cell, state, xs, remat_every=20, key=KEY)
    jacobians = dynamics.state_jacobians(cell, state, xs)
    volume = dynamics.log_determinants(jacobians)
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
    every = exponents(cell, xs)
    some = exponents(cell, xs, k=3)
    assert (jnp.diff(every.exponents) < 0).all()
    np.testing.assert_allclose(some.exponents, every.exponents[:3], rtol=1e-10)
    np.testing.assert_allclose(some.participation, every.participation[:3], rtol=1e-10)


def test_participation_counts_the_units_of_a_direction():
    rates = jnp.array([0.9, 0.5, 0.2])
    apart = autonomous(lambda s: rates * s, jnp.zeros(3), 20_000)
    np.testing.assert_allclose(apart.exponents, jnp.log(rates), atol=1e-3)
    np.testing.assert_allclose(apart.participation, 1 / 3, atol=1e-3)
    cell = Map(lambda s, x: jnp.full(7, s.mean()), jnp.zeros(7))
    alike = exponents(cell, jnp.zeros((11, 0)), k=1)
    np.testing.assert_allclose(alike.participation, 1, rtol=1e-12)


def test_directions_that_a_projection_drops_are_lost():
    cell = CELLS["ProjectedLSTM"]()  # 5 entries of m pass through 3
    found = exponents(cell, draw(1, 500, 2))
    assert (found.exponents[:-2] > -10).all()
    assert (found.exponents[-2:] < -30).all()


def test_exponents_are_the_same_under_jit_and_vmap():
    cell, xs = CELLS["GRU"](), draw(1, 53, 3, 2)

    def one(cell, xs):
        return exponents(cell, xs, k=2, remat_every=7)

    want = one(cell, xs)
    for found in (jax.jit(one)(cell, xs), jax.vmap(one, (None, 1))(cell, xs)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), found, want)


def test_float32_sums_do_not_drift_over_long_time():
    gain, start = jnp.float32(0.7), jnp.zeros(3, jnp.float32)
    few, many = (autonomous(lambda s: gain * s, start, time) for time in (1000, 1_000_000))
    assert many.exponents.dtype == many.participation.dtype == jnp.float32
    np.testing.assert_allclose(many.exponents, np.log(0.7), rtol=1e-4)
    np.testing.assert_allclose(many.participation, few.participation, rtol=1e-4)


def test_leading_exponents_need_no_jacobian_in_memory():
    cell = seqmem.IndRNN(2, 100_003, activation=jnp.tanh, key=KEY)  # a Jacobian is 80 gigabytes
    assert jnp.isfinite(exponents(cell, draw(1, 5, 2), k=2).exponents).all()


def test_memory_does_not_grow_with_time_but_by_a_mean_per_chunk():
    cell = chaos(2.0, 31, seed=1)

    def bytes_for(time):
        run = jax.jit(lambda xs: exponents(cell, xs, k=3, remat_every=100))
        compiled = run.lower(jax.ShapeDtypeStruct((time, 0), float)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    longer = bytes_for(100_000) - bytes_for(1000)
    assert longer < 99_000 * 8 / 5  # 8 bytes were one number of every step


def test_chunks_and_batches_change_no_exponent():
    cell, xs = CELLS["GRU"](), draw(1, 101, 3, 2)
    both = exponents(cell, xs, remat_every=17)
    for example in range(3):
        alone = exponents(cell, xs[:, example], remat_every=200)
        np.testing.assert_allclose(both.exponents[example], alone.exponents, rtol=1e-11)
        np.testing.assert_allclose(both.state[example], alone.state, rtol=1e-12)
        assert np.isnan(alone.standard_errors).all()
    final, _ = seqmem.unroll(cell, cell.init_state(), xs)
    np.testing.assert_allclose(both.state, final, rtol=1e-12)


def chaos(gain, size, seed):
    W = gain * draw(seed, size, size) / np.sqrt(size)
    return Map(lambda h, x: W @ jnp.tanh(h), draw(seed + 100, size))


@pytest.mark.parametrize(
    ("gain", "mean_field", "within", "draws", "time"),
    [
        (2, 0.154724, 0.04, 1, 4000),
        slow(3, 0.310249, 0.01, 4, 16_000),
        slow(5, 0.532428, 0.01, 4, 16_000),
    ],
)
def test_a_random_network_is_chaotic_as_mean_field_says(gain, mean_field, within, draws, time):
    """N = 1000 lies 0.8 % below and single draws beyond 1 %: their mean is compared, of runs so
    long that its standard error is below 0.1 %.
    """
    found = []
    for seed in range(draws):
        cell = chaos(gain, 1000, seed)
        settled = exponents(cell, jnp.zeros((300, 0)), k=1)
        run = dynamics.lyapunov_exponents(cell, settled.state, jnp.zeros((time, 0)), k=1, key=KEY)
        found.append(run.exponents[0])
    np.testing.assert_allclose(np.mean(found), mean_field, rtol=within)


def test_a_random_network_below_the_edge_fades_with_its_spectral_radius():
    cell = chaos(0.8, 50, seed=2)
    W = jax.jacfwd(cell.step)(jnp.zeros(50), None)
    radius = jnp.abs(jnp.linalg.eigvals(W)).max()
    found = dynamics.lyapunov_exponents(cell, 0 * cell.start, jnp.zeros((5000, 0)), k=2, key=KEY)
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
        return seqmem.unroll(cell, jnp.zeros(1), xs, method=seqmem.ReferenceScan())[1][:, 0]

    hs, slopes = jax.jvp(run, (jnp.asarray(rate),), (jnp.ones(()),))
    wants = 1 / (1 - rate**2), (1 + rate**2) / (1 - rate**2) ** 3
    for samples, want in zip((hs, slopes), wants, strict=True):
        batches = (samples**2).reshape(-1, 1000).mean(1)
        error = batches.std(ddof=1) / np.sqrt(len(batches))
        np.testing.assert_allclose(batches.mean(), want, atol=4 * error)
        assert error < 0.03 * want


@pytest.mark.parametrize("name", [slow("LSTM"), "GRU", slow("Stack")])
def test_transitions_are_what_a_vjp_through_time_multiplies_by(name):
    cell = CELLS[name]()
    state, xs = cell.init_state(), draw(1, 7, 3, cell.input_size)
    products = dynamics.transitions(dynamics.state_jacobians(cell, state, xs))
    flat, unflat = ravel_pytree(state)

    def last(v, example):
        return ravel_pytree(seqmem.unroll(cell, unflat(v), xs[:, example])[0])[0]

    for example in range(3):
        want = jax.jacrev(last)(flat, example)
        np.testing.assert_allclose(products[0, example], want, rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(products[-1, 0], jnp.eye(len(flat)))


def test_transitions_are_the_products_of_a_loop():
    factors, want = draw(1, 7, 3, 5, 5), [jnp.tile(jnp.eye(5), (3, 1, 1))]
    for factor in factors[::-1]:
        want.insert(0, want[0] @ factor)
    np.testing.assert_allclose(dynamics.transitions(factors), jnp.stack(want), rtol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_padding_hands_a_state_on_as_it_is(reverse):
    cell, xs, lengths = CELLS["GRU"](), draw(1, 7, 3, 2), jnp.array([7, 4, 0])
    marks = {"lengths": lengths, "reverse": reverse}
    jacobians = dynamics.state_jacobians(cell, cell.init_state(), xs, **marks)
    products = dynamics.transitions(jacobians[::-1] if reverse else jacobians)

    def last(state):
        return seqmem.unroll(cell, jnp.broadcast_to(state, (3, 5)), xs, **marks)[0]

    want = jax.jacrev(last)(cell.init_state())
    np.testing.assert_allclose(products[0], want, rtol=1e-10, atol=1e-13)
    assert (dynamics.log_determinants(jacobians)[4:, 1] == 0).all()


@pytest.mark.parametrize(
    "ask",
    [
        lambda cell, xs: exponents(cell, xs, k=6),
        lambda cell, xs: exponents(cell, xs, k=0),
        lambda cell, xs: exponents(cell, xs, k=2.5),
        lambda cell, xs: exponents(cell, xs, remat_every=0),
        lambda cell, xs: exponents(cell, xs[:0]),
        lambda cell, xs: exponents(cell, xs[0]),
        lambda cell, xs: dynamics.lyapunov_exponents(seqmem.GRU, cell.init_state(), xs, key=KEY),
        lambda cell, xs: dynamics.state_jacobians(seqmem.GRU, cell.init_state(), xs),
        lambda cell, xs: exponents(COUNTER, xs),
        lambda cell, xs: dynamics.state_jacobians(COUNTER, COUNTER.start, xs),
        lambda cell, xs: exponents(LRU, xs),
        lambda cell, xs: dynamics.transitions(xs),
    ],
)
def test_what_has_no_exponents_is_refused(ask):
    with pytest.raises(ValueError, match=r"(?s)^[^\n]+\n  Expected: .*\n  What to do: "):
        ask(CELLS["GRU"](), draw(1, 9, 2))
