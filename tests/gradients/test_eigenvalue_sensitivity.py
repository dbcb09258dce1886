"""Sensitivity of diagonal cells to their eigenvalues, against its closed form for white inputs.

An impulse has the flat spectrum of white inputs: its sum over time is their mean, exactly.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import gradients
from tests.helpers.refusals import assert_refused

KEY, DATA_KEY = jax.random.split(jax.random.key(0))
TIME = 3000

pytestmark = pytest.mark.usefixtures("float64")


class Leaky(seqmem.AbstractDiagonalCell):
    """h_t = λ h_{t−1} + x_t with λ itself as the parameter."""

    eigenvalue: jax.Array

    def init_state(self):
        return jnp.zeros_like(self.eigenvalue)

    def project(self, x):
        return x

    def update(self, h, x):
        return self.eigenvalue * h + x

    def readout(self, h, x):
        return h


def as_float64(cell):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), cell)


def impulse(features):
    return jnp.zeros((TIME, features)).at[0].set(1.0)


def test_sensitivity_of_a_leaky_unit_is_that_of_the_curse_of_memory():
    cell = Leaky(jnp.array([0.9, 0.5, -0.99]))
    result = gradients.eigenvalue_sensitivity(cell, None, impulse(3))
    np.testing.assert_allclose(TIME * result.measured[0], 1.81 / 0.19**3, rtol=1e-10)
    np.testing.assert_allclose(TIME * result.measured[0], 263.9, rtol=1e-3)
    np.testing.assert_allclose(result.measured, result.white, rtol=1e-10)
    squares = cell.eigenvalue**2
    np.testing.assert_allclose(result.relative, (1 + squares) ** 0.5 / (1 - squares), rtol=1e-10)
    np.testing.assert_array_equal(result.is_dominated, [False, False, True])
    report = result.report()
    assert report.startswith("1 of 3 units are dominated")
    assert "unit 2: |λ| = 0.990000, 1/(1 − |λ|²) = 50.3" in report


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LRU", "S4D"])
def test_complex_units_have_the_closed_form_in_the_modulus(name):
    if name == "LRU":
        cell = as_float64(seqmem.LRU(2, 5, r_max=0.98, key=KEY))
    else:
        cell = as_float64(seqmem.S4D(2, 3, key=KEY))
        cell = eqx.tree_at(lambda tree: tree.log_delta, cell, jnp.log(jnp.array([0.05, 0.1])))
    result = gradients.eigenvalue_sensitivity(cell, None, impulse(2))
    assert result.measured.shape == cell.init_state().shape
    np.testing.assert_allclose(result.measured, result.white, rtol=1e-8)


@pytest.mark.slow
def test_parameter_norm_of_an_lru_is_that_of_its_polar_form():
    cell = as_float64(seqmem.LRU(2, 5, max_phase=0.01, r_min=0.99, r_max=0.999, key=KEY))
    result = gradients.eigenvalue_sensitivity(cell, None, impulse(2))
    modulus = np.abs(cell.eigenvalues())
    np.testing.assert_allclose(result.eigenvalues, cell.eigenvalues(), rtol=1e-12)
    expected = modulus * np.sqrt(np.exp(2 * cell.nu) + np.exp(2 * cell.theta))
    np.testing.assert_allclose(result.parameter_norm, expected, rtol=1e-10)
    # As a parameter, λ would dominate; exp(−exp(ν)) takes the sensitivity back.
    assert (expected < 0.02).all()
    assert (result.relative / result.parameter_norm > 50).all()


@pytest.mark.slow
def test_slow_inputs_are_worse_than_white_ones_and_batches_are_averaged():
    cell = Leaky(jnp.array([0.9, 0.5]))
    white = jax.random.normal(DATA_KEY, (2000, 3, 2))
    result = gradients.eigenvalue_sensitivity(cell, None, white)
    np.testing.assert_allclose(result.measured / result.white, 1, rtol=0.2)
    singles = [gradients.eigenvalue_sensitivity(cell, None, white[:, k]).measured for k in range(3)]
    np.testing.assert_allclose(result.measured, np.mean(singles, 0), rtol=1e-10)
    slow = gradients.eigenvalue_sensitivity(cell, None, jnp.ones((2000, 2)))
    assert (slow.measured > 2 * slow.white).all()


def test_eigenvalues_that_depend_on_the_input_are_refused():
    call, xs = gradients.eigenvalue_sensitivity, jax.random.normal(DATA_KEY, (7, 2))
    cell = as_float64(seqmem.MinGRU(2, 3, key=KEY))
    message = "eigenvalue_sensitivity got a MinGRU whose λ changes along the run."
    assert_refused(message, call, cell, None, xs)
    lstm = as_float64(seqmem.LSTM(2, 3, key=KEY))
    assert_refused("eigenvalue_sensitivity got a LSTM of the family 'gated'.", call, lstm, None, xs)
    leaky = Leaky(jnp.array([0.9, 0.5]))
    assert_refused("eigenvalue_sensitivity got threshold=0", call, leaky, None, xs, threshold=0.0)
    assert_refused("eigenvalue_sensitivity got no step.", call, leaky, None, xs[:0])
