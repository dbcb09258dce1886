"""The mean-field theory of random cells: exact cases, and networks of 1000 units.

Source of the exponents: Sompolinsky, Crisanti & Sommers 1988, in discrete time.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import gradients, with_gain
from tests.helpers.refusals import assert_refused

KEY = jax.random.key(0)


def test_exponents_of_an_rnn_are_those_of_its_edge_of_chaos():
    cell = seqmem.RNN(1, 5, key=KEY)  # orthogonal: the mean square of U is 1/N
    known = {1.1: 0.005069, 1.2: 0.016476, 1.5: 0.065217, 2: 0.154724, 3: 0.310249, 5: 0.532428}
    for gain, exponent in known.items():
        chi = gradients.mean_field(with_gain(cell, gain)).chi
        np.testing.assert_allclose(0.5 * np.log(chi), exponent, atol=2e-6)
    below = gradients.mean_field(with_gain(cell, 0.5))
    np.testing.assert_allclose(below, (0, 0.25, 0.5), atol=1e-6)


def test_length_of_a_linear_rnn_is_a_geometric_sum():
    cell = seqmem.RNN(3, 5, activation=lambda z: z, key=KEY)
    cell = eqx.tree_at(lambda tree: tree.b, cell, jnp.array([1.0, -1, 1, -1, 0]))
    result = gradients.mean_field(with_gain(cell, 0.5), input_power=2.0)
    inputs = 2 * (np.asarray(cell.W, np.float64) ** 2).sum(1).mean()
    np.testing.assert_allclose(result.q, (inputs + 0.8) / (1 - 0.25), rtol=1e-6)
    np.testing.assert_allclose(result[1:], (0.25, 0.5), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_growth_at_a_state_of_zero_is_that_of_the_linear_map(gain):
    """Without inputs all pre-activations are the biases: σ(0) = 1/2, σ(1) of a forget gate."""
    lstm, gru = (with_gain(cell(1, 5, key=KEY), gain) for cell in (seqmem.LSTM, seqmem.GRU))
    f = 1 / (1 + np.exp(-1))
    result = gradients.mean_field(lstm)
    np.testing.assert_allclose(result, (0, f**2 + gain**2 / 16, f + gain / 4), atol=1e-5)
    result = gradients.mean_field(gru)
    np.testing.assert_allclose(result, (0, 1 / 4 + gain**2 / 16, 1 / 2 + gain / 4), atol=1e-5)


@pytest.mark.slow
def test_memory_of_an_lstm_has_the_distribution_of_a_simulated_one():
    cell = seqmem.with_gate(seqmem.LSTM(100, 50, key=KEY), "cell", b=0.5)
    result = gradients.mean_field(with_gain(cell, 1e-6), input_power=2.0)
    rng = np.random.default_rng(1)
    variance = 2 * (np.asarray(cell.W, np.float64) ** 2).sum(2).mean(1)
    c = np.zeros(100_000)

    def draw(index, bias):
        return bias + variance[index] ** 0.5 * rng.normal(size=c.shape)

    for _ in range(60):
        i, f = (1 / (1 + np.exp(-draw(index, index))) for index in (0, 1))
        c = f * c + i * np.tanh(draw(2, 0.5))
    h = np.tanh(c) / (1 + np.exp(-draw(3, 0)))
    error = (h**2).std() / len(h) ** 0.5
    np.testing.assert_allclose(result.q, (h**2).mean(), atol=4 * error)
    # Without recurrent weights, what remains of a perturbation is the forget gate.
    f = 1 / (1 + np.exp(-draw(1, 1)))
    np.testing.assert_allclose(result.chi, (f**2).mean(), atol=4 * (f**2).std() / len(f) ** 0.5)
    np.testing.assert_allclose(result.radius, f.mean(), atol=4 * f.std() / len(f) ** 0.5 + 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "gain"), [("RNN", 2.0), ("LSTM", 3.0), ("GRU", 2.0)])
def test_theory_is_within_2_percent_of_networks_with_new_weights_at_every_step(name, gain):
    pytest.importorskip("matplotlib", reason="the study draws a figure")
    pytest.importorskip("tqdm", reason="the study has a progress bar")
    from benchmarks.studies import criticality

    cell = criticality.gaussian_cell(name, 1000, gain, seed=0)
    theory = gradients.mean_field(cell, input_power=1.0)
    q, chi = criticality.length_and_growth(cell, jax.random.key(1), is_new=True, steps=100)
    np.testing.assert_allclose((q, chi), (theory.q, theory.chi), rtol=0.02)


def test_cells_without_a_theory_are_refused():
    cell = seqmem.MGU(2, 5, key=KEY)
    for call in (gradients.mean_field, gradients.critical):
        message = assert_refused(f"{call.__name__} got a MGU.", call, cell)
        assert "with_unit_growth" in message
    cell = seqmem.LSTM(2, 5, key=KEY)
    for power in (-1.0, float("inf")):
        message = f"mean_field got input_power={power!r}."
        assert_refused(message, gradients.mean_field, cell, input_power=power)
    structured = seqmem.RNN(2, 5, recurrent=seqmem.Dense(), key=KEY)
    message = "mean_field got a RNN whose U is a StructuredMatrix."
    assert_refused(message, gradients.mean_field, structured)
