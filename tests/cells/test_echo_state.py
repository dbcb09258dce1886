"""Echo state networks: how they are drawn, that they are constants, their memory, and refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqmem
from seqmem import training
from seqmem._cells.spectral_radius import spectral_radius_of
from tests.helpers.refusals import assert_refused

key = jax.random.key(0)


def make(**options):
    return seqmem.EchoState(2, 41, key=key, **options)


def modulus(U):
    return np.abs(np.linalg.eigvals(np.asarray(U, np.float64))).max()


def test_spectral_radius_and_sparsity_are_those_asked_for():
    cell = make(spectral_radius=1.3, sparsity=0.8)
    np.testing.assert_allclose(modulus(cell.U), 1.3, rtol=1e-5)
    np.testing.assert_allclose((cell.U == 0).mean(), 0.8, atol=0.03)


@pytest.mark.usefixtures("float64")
def test_spectral_radius_is_that_of_numpy():
    """A pair of complex eigenvalues, a defective matrix, and one whose second power is 0."""
    rotation = 3 * np.array([[0.6, -0.8], [0.8, 0.6]])
    for A, rtol in ((rotation, 1e-12), (np.random.default_rng(3).normal(size=(2, 2)), 1e-11)):
        np.testing.assert_allclose(spectral_radius_of(jnp.asarray(A)), modulus(A), rtol=rtol)
    np.testing.assert_allclose(spectral_radius_of(jnp.array([[2.0, 7.0], [0.0, 2.0]])), 2)
    assert spectral_radius_of(jnp.array([[0.0, 7.0], [0.0, 0.0]])) == 0


def test_input_weights_and_bias_have_their_scales():
    cell = make(input_scale=0.3, bias_scale=0.2)
    for leaf, scale in ((cell.W, 0.3), (cell.b, 0.2)):
        assert 0.8 * scale < jnp.abs(leaf).max() <= scale
    assert not make().b.any()


@pytest.mark.slow
def test_echo_state_can_be_made_under_jit_and_vmap():
    cells = jax.jit(jax.vmap(lambda key: seqmem.EchoState(2, 7, key=key)))(jax.random.split(key, 3))
    np.testing.assert_allclose([modulus(U) for U in cells.U], 0.9, rtol=1e-5)


@pytest.mark.slow
def test_weights_of_the_reservoir_are_constants():
    """Their gradient is 0, that of a layer below is not, and an optimiser leaves them."""
    keys = jax.random.split(key)
    net = seqmem.layers.Stack(
        [seqmem.layers.Map(eqx.nn.Linear(2, 2, key=keys[0]), input_shape=(2,)), make(leak=0.5)]
    )
    xs = jax.random.normal(keys[1], (5, 2))

    def loss(net):
        return (seqmem.unroll(net, None, xs)[1] ** 2).sum()

    gradient = jax.grad(loss)(net)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient.layers[1]))
    assert all(leaf.all() for leaf in jax.tree.leaves(gradient.layers[0]))
    optimiser = optax.sgd(0.1, momentum=0.9)
    updates, _ = optimiser.update(gradient, optimiser.init(net))
    trained = optax.apply_updates(net, updates)
    assert eqx.tree_equal(trained.layers[1], net.layers[1])
    assert not eqx.tree_equal(trained.layers[0], net.layers[0])


def test_state_forgets_how_it_began():
    cell, xs = make(spectral_radius=0.7), jax.random.normal(key, (150, 3, 2))
    state, _ = seqmem.unroll(cell, jax.random.normal(key, (3, 41)), xs)
    other, _ = seqmem.unroll(cell, None, xs)
    np.testing.assert_allclose(state, other, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("units", [10, 20])
def test_memory_capacity_of_a_linear_reservoir_is_its_number_of_units(units):
    """Jaeger 2001: Σ_k r² of the best linear readouts of the input k steps ago, for white input.

    Of 20 units U is orthogonal but for its scale: the covariance of a random linear reservoir of
    that size has a condition number of 10¹³ (Ballarin et al. 2023, arXiv:2305.01457).
    """
    time, lags, washout = 20_000, 100, 200
    cell = seqmem.EchoState(1, units, activation=lambda z: z, spectral_radius=0.9, key=key)
    if units == 20:
        cell = eqx.tree_at(lambda cell: cell.U, cell, 0.9 * jnp.linalg.qr(cell.U)[0])
    xs = jax.random.normal(jax.random.key(1), (time, 1))
    _, states = seqmem.unroll(cell, None, xs)
    targets = jnp.concatenate([jnp.roll(xs, lag, axis=0) for lag in range(lags)], axis=1)
    readout = training.ridge_readout(states, targets, washout=washout, alpha=0.0)
    outputs = states @ readout.weight.T + readout.bias
    outputs, targets = (rows[washout:] - rows[washout:].mean(0) for rows in (outputs, targets))
    covariance = (outputs * targets).mean(0)
    r2 = covariance**2 / (outputs.var(0) * targets.var(0))
    chance = lags * units / time  # what r² is expected to be where nothing is remembered
    np.testing.assert_allclose(r2.sum() - chance, units, rtol=0.01)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spectral_radius", 0),
        ("spectral_radius", -0.9),
        ("spectral_radius", float("nan")),
        ("sparsity", 1.0),
        ("sparsity", -0.1),
        ("leak", 0.0),
        ("leak", 1.1),
        ("input_scale", 0.0),
        ("bias_scale", -1.0),
        ("activation", "tanh"),
    ],
)
def test_echo_state_refuses_numbers_out_of_range(name, value):
    assert_refused(f"EchoState got {name}={value!r}", make, **{name: value})


def test_echo_state_refuses_units_without_a_loop():
    came = "EchoState drew 3 units with sparsity=0.99 that form no loop."
    assert_refused(came, seqmem.EchoState, 2, 3, sparsity=0.99, key=key)
