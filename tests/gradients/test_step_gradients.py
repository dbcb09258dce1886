"""The contributions of single steps, and the penalty on their Jacobians, by other means."""

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import gradients
from seqmem._core.trees import tree_norm
from seqmem.dynamics._trajectory import states_before
from seqmem.gradients._step_gradients import contribution
from tests.helpers.cells import CELLS
from tests.helpers.linear import linear_rnn
from tests.helpers.slow import slow

TIME, BATCH, INPUT, HIDDEN = 7, 3, 2, 5
OPTIONS = {
    "lengths": np.array([TIME, 4, 0]),
    "resets": np.random.default_rng(2).normal(size=(TIME, BATCH)) > 0.7,
}

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def random_run(name):
    """A cell, a state shared by all examples, and inputs."""
    cell = CELLS[name]()
    state = jax.tree.map(lambda leaf: jnp.asarray(draw(3, *leaf.shape)), cell.init_state())
    return cell, state, jnp.asarray(draw(1, TIME, BATCH, INPUT))


def loss(cell, state, xs, perturbations, **options):
    state, ys = seqmem.unroll(cell, state, xs, perturbations=perturbations, **options)
    return jnp.sum(jnp.sin(ys)) + sum(jnp.sum(s**2) for s in jax.tree.leaves(state))


measure = gradients.value_grad_and_flow(loss)


@pytest.mark.parametrize(
    "name",
    ["LSTM", "GRU", "MGU", slow("PeepholeLSTM"), slow("ProjectedLSTM"), slow("ResetBeforeGRU")],
)
def test_gate_gradients_add_up_to_the_gradient_of_the_bias(name):
    cell, state, xs = random_run(name)

    @jax.jit
    def run(cell):
        _, grads, flow = measure(cell, state, xs, **OPTIONS)
        return grads.b, gradients.gate_gradients(cell, state, xs, flow, **OPTIONS)

    d_bias, gates = run(cell)
    assert set(gates) == set(cell.gates)
    for index, name in enumerate(cell.gates):
        np.testing.assert_allclose(gates[name].sum((0, 1)), d_bias[index], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "reverse"),
    [slow("LSTM", False), slow("LSTM", True), ("MGU", False), slow("MGU", True)],
)
def test_contributions_add_up_to_the_gradient(name, reverse):
    cell, state, xs = random_run(name)
    options = OPTIONS | {"reverse": reverse}

    @jax.jit
    def run(cell):
        _, grads, flow = measure(cell, state, xs, **options)
        steps = states_before(cell, state, xs, **options), xs, flow.d_states
        parts = jax.lax.map(lambda step: contribution(cell, *step, batch_axes=1), steps)
        return grads, parts, gradients.contributions(cell, state, xs, flow, **options)

    grads, parts, norms = run(cell)
    total = jax.tree.map(lambda leaf: leaf.sum(0), parts)
    chex.assert_trees_all_close(total, grads, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(norms, tree_norm(parts, 1), rtol=1e-11)


@jax.jit
def penalty_of(cell, xs):
    _, _, flow = measure(cell, None, xs)
    return gradients.norm_penalty(cell, None, xs, flow)


def test_norm_penalty_of_scaled_rotations_is_known():
    rotation = np.linalg.qr(draw(4, HIDDEN, HIDDEN))[0]
    xs = jnp.asarray(draw(1, TIME, BATCH, INPUT))
    np.testing.assert_allclose(penalty_of(linear_rnn(rotation), xs), 0, atol=1e-24)
    np.testing.assert_allclose(penalty_of(linear_rnn(3 * rotation), xs), 4 * TIME, rtol=1e-12)


def test_norm_penalty_of_padding_and_lost_gradients_has_a_finite_gradient():
    """A step of U = 0 passes no gradient, and counts 1."""
    xs = jnp.asarray(draw(1, TIME, BATCH, INPUT))

    @jax.jit
    def run(cell):
        _, _, flow = measure(cell, None, xs, lengths=OPTIONS["lengths"])
        return jax.value_and_grad(gradients.norm_penalty)(cell, None, xs, flow)

    penalty, grads = run(linear_rnn(0.0))
    np.testing.assert_allclose(penalty, (TIME + 4) / BATCH, rtol=1e-12)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_descent_on_the_norm_penalty_reduces_it():
    rotation = np.linalg.qr(draw(4, HIDDEN, HIDDEN))[0]
    cell = seqmem.RNN(INPUT, HIDDEN, activation=jnp.tanh, key=jax.random.key(0))
    cell = eqx.tree_at(lambda cell: cell.U, cell, jnp.asarray(0.5 * rotation))
    xs = jnp.asarray(draw(1, TIME, BATCH, INPUT))

    @jax.jit
    def descend(cell):
        _, _, flow = measure(cell, None, xs)
        penalty, slope = jax.value_and_grad(gradients.norm_penalty)(cell, None, xs, flow)
        return jax.tree.map(lambda weight, d: weight - 0.01 * d, cell, slope), penalty

    penalties = []
    for _ in range(31):
        cell, penalty = descend(cell)
        penalties.append(float(penalty))
    assert penalties[-1] < 0.5 * penalties[0]
