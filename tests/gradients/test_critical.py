"""Critical gains: by theory where they are known, from data, and the gradients that they give."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import gradients
from tests.helpers.linear import linear_rnn
from tests.helpers.refusals import assert_refused

KEY, DATA_KEY = jax.random.split(jax.random.key(0))


def gain_of(cell, original):
    return float(jnp.ravel(cell.U)[0] / jnp.ravel(original.U)[0])


@pytest.mark.slow
def test_critical_gains_of_an_rnn_without_input_are_the_known_ones():
    orthogonal = seqmem.RNN(1, 5, key=KEY)
    np.testing.assert_allclose(gain_of(gradients.critical(orthogonal), orthogonal), 1, rtol=1e-4)
    rectified = seqmem.RNN(1, 5, activation=jax.nn.relu, key=KEY)
    gain = gain_of(gradients.critical(rectified), rectified)
    np.testing.assert_allclose(gain, np.sqrt(2), rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "gate", "gain"),
    [
        pytest.param(seqmem.LSTM, "forget", -4 * np.expm1(-0.01), marks=pytest.mark.slow),
        (seqmem.GRU, "update", 2.0),
    ],
)
def test_critical_gates_keep_the_memory_for_the_lag(make, gate, gain):
    """At h = 0 the other gates are 1/2: f + gain/4 = 1 for an LSTM, z + (1 − z) gain/2 = 1."""
    original = make(3, 50, key=KEY)
    cell = gradients.critical(original, lag=100)
    np.testing.assert_allclose(seqmem.gate(cell, gate).b, -np.log(np.expm1(0.01)), rtol=1e-5)
    others = [name for name in cell.gates if name != gate]
    for name in others:
        np.testing.assert_array_equal(seqmem.gate(cell, name).b, seqmem.gate(original, name).b)
    np.testing.assert_allclose(gain_of(cell, original), gain, rtol=1e-4)


def test_critical_gate_is_open_on_average_over_its_inputs():
    cell = gradients.critical(seqmem.GRU(100, 50, key=KEY), lag=100, input_power=3.0)
    weights = seqmem.gate(cell, "update")
    deviation = (3 * (np.asarray(weights.W, np.float64) ** 2).sum(1).mean()) ** 0.5
    z = float(weights.b[0]) + deviation * np.random.default_rng(1).normal(size=200_000)
    logs = np.log1p(np.exp(-z))
    np.testing.assert_allclose(logs.mean(), 0.01, atol=4 * logs.std() / len(z) ** 0.5)
    result = gradients.mean_field(cell, input_power=3.0)
    np.testing.assert_allclose(max(result.radius, result.chi**0.5), 1, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "units"), [(seqmem.RNN, 512), (seqmem.LSTM, 128), (seqmem.GRU, 128)]
)
def test_gradient_of_a_critical_cell_at_lag_200_is_within_a_factor_of_3_of_lag_1(make, units):
    """An RNN must be wide: its exponent at χ = 1 is 0 for N → ∞, and below it by the order 1/N."""
    lag = 200
    original = make(20, units, key=KEY)
    options = {} if make is seqmem.RNN else {"lag": lag}
    critical = gradients.critical(original, input_power=1.0, **options)
    xs = jax.random.normal(DATA_KEY, (2 * lag, 4, 20))
    direction = jax.random.normal(KEY, (4, units))

    @jax.jit
    def ratio(cell):
        def loss(cell, perturbations):
            _, ys = seqmem.unroll(cell, None, xs, perturbations=perturbations)
            return (ys[-1] * direction).sum()

        flow = gradients.value_grad_and_flow(loss)(cell)[2]
        norms = gradients.by_lag(flow.norm())
        return jnp.median(norms[lag] / norms[1])

    assert 1 / 3 < ratio(critical) < 3
    assert ratio(original) < 1e-6


@pytest.mark.slow
def test_unit_growth_finds_the_gain_of_a_linear_network():
    orthogonal = jnp.linalg.qr(jax.random.normal(KEY, (5, 5)))[0]
    cell = linear_rnn(0.3 * orthogonal)
    xs = jax.random.normal(DATA_KEY, (30, 3, 2))
    cell = gradients.with_unit_growth(cell, None, xs, key=KEY)
    np.testing.assert_allclose(cell.U, orthogonal, atol=1e-4)


@pytest.mark.slow
def test_unit_growth_holds_on_other_inputs_and_for_any_cell():
    original = seqmem.MGU(3, 101, key=KEY)
    xs = jax.random.normal(DATA_KEY, (2, 300, 4, 3))
    cell = gradients.with_unit_growth(original, None, xs[0], key=KEY)

    def growth(cell):
        return float(
            seqmem.dynamics.lyapunov_exponents(cell, None, xs[1], k=1, key=KEY).exponents.mean()
        )

    assert abs(growth(cell)) < 0.02
    assert growth(original) < -0.1


class Growing(seqmem.AbstractCell):
    """h_t = 2 h_{t−1} + U h_{t−1}, which grows without U."""

    recurrent_weights: ClassVar = ("U",)
    U: jax.Array

    def init_state(self):
        return jnp.zeros(len(self.U))

    def project(self, x):
        return x

    def update(self, h, x):
        return 2 * h + h @ self.U.mT

    def readout(self, h, x):
        return h


def test_rnn_without_a_critical_gain_is_refused():
    dead = seqmem.RNN(2, 3, activation=jnp.zeros_like, key=KEY)
    message = "critical got a cell whose perturbations decay at every gain."
    assert_refused(message, gradients.critical, dead)


@pytest.mark.slow
def test_cells_without_unit_growth_are_refused():
    xs = jnp.zeros((5, 2))
    dead = seqmem.RNN(2, 3, activation=jnp.zeros_like, key=KEY)
    message = "with_unit_growth got a cell whose perturbations "
    call = gradients.with_unit_growth
    assert_refused(message + "decay at every gain.", call, dead, None, xs, key=KEY)
    growing = Growing(jnp.eye(3))
    assert_refused(message + "grow by 0.69", call, growing, None, xs, key=KEY)
    assert_refused("with_gain got a MinGRU", call, seqmem.MinGRU(2, 3, key=KEY), None, xs, key=KEY)


def test_lags_that_make_no_sense_are_refused():
    rnn, gru = seqmem.RNN(2, 3, key=KEY), seqmem.GRU(2, 3, key=KEY)
    assert_refused("critical got lag=9 for an RNN.", gradients.critical, rnn, lag=9)
    assert_refused("critical got lag=1.", gradients.critical, gru, lag=1)
