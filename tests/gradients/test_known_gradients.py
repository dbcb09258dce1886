"""What is known exactly about gradients over time, read off the perturbations of `unroll`.

Sources: Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063; Tallec & Ollivier 2018, arXiv:1804.11188.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import seqmem
from seqmem._core.precision import as_precision
from tests.helpers.cells import CELLS, KINDS
from tests.helpers.slow import slow_but

TIME, BATCH, INPUTS, HIDDEN = 23, 3, 2, 5

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def identity(z):
    return z


def rnn(U, activation):
    cell = seqmem.RNN(INPUTS, HIDDEN, activation=activation, key=jax.random.key(0))
    return eqx.tree_at(lambda cell: cell.U, cell, U)


def rotation(seed):
    return jnp.linalg.qr(draw(seed, HIDDEN, HIDDEN))[0]


@jax.jit
def gradients(cell, xs, v):
    """∂L/∂s_{T−k} for k = 0 … T − 1, where L = Σ v · s_T, from zero-valued perturbations."""
    start = cell.init_state()
    perturbations = jax.tree.map(lambda a: jnp.zeros(xs.shape[:-1] + a.shape, a.dtype), start)

    def final(perturbations):
        return seqmem.unroll(cell, start, xs, perturbations=perturbations)[0]

    return jax.tree.map(lambda a: a[::-1], jax.vjp(final, perturbations)[1](v)[0])


def test_gradient_of_a_linear_network_is_a_power_of_its_matrix():
    U = 0.7 * draw(1, HIDDEN, HIDDEN)
    xs = jnp.repeat(draw(2, TIME, 1, INPUTS), HIDDEN, 1)
    by_lag = gradients(rnn(U, identity), xs, jnp.eye(HIDDEN))  # example i asks for entry i of h_T
    for lag, jacobian in enumerate(by_lag):
        expected = np.linalg.matrix_power(U, lag)
        np.testing.assert_allclose(jacobian, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_a_power_has_the_derivative_of_a_power():
    w, start = 0.93, jnp.array([1.7])
    cell = seqmem.RNN(1, 1, activation=identity, key=jax.random.key(0))
    cell = eqx.tree_at(lambda cell: cell.U, cell, jnp.array([[w]]))

    def last(cell):
        return seqmem.unroll(cell, start, jnp.zeros((TIME, 1)))[0][0]

    derivative = jax.jit(jax.grad(last))(cell).U[0, 0]
    np.testing.assert_allclose(derivative, 1.7 * TIME * w ** (TIME - 1), rtol=1e-12)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.1])
def test_gradient_of_a_scaled_rotation_is_a_power_of_the_scale(gain):
    v = draw(3, BATCH, HIDDEN)
    by_lag = gradients(rnn(gain * rotation(4), identity), draw(5, TIME, BATCH, INPUTS), v)
    growth = np.linalg.norm(by_lag, axis=-1) / np.linalg.norm(v, axis=-1)
    np.testing.assert_allclose(growth, powers(gain), rtol=1e-12)


def powers(rate):
    """rate^k at lag k, for each example."""
    return np.repeat(rate ** np.arange(TIME)[:, None], BATCH, 1)


@pytest.mark.parametrize("gain", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(("activation", "slope"), [(jnp.tanh, 1.0), (jax.nn.sigmoid, 0.25)])
def test_no_gradient_is_above_the_bound_of_pascanu(activation, slope, gain):
    U, v = gain * draw(6, HIDDEN, HIDDEN), draw(7, BATCH, HIDDEN)
    by_lag = gradients(rnn(U, activation), draw(8, TIME, BATCH, INPUTS), v)
    growth = np.linalg.norm(by_lag, axis=-1) / np.linalg.norm(v, axis=-1)
    assert (growth <= powers(slope * np.linalg.norm(U, 2)) * (1 + 1e-12)).all()
    assert (growth > 0).all()


def test_the_bound_of_pascanu_is_reached_where_the_slope_is_largest():
    """Without inputs a tanh network stays at 0, where its slope is 1."""
    v = draw(9, BATCH, HIDDEN)
    by_lag = gradients(rnn(1.1 * rotation(10), jnp.tanh), jnp.zeros((TIME, BATCH, INPUTS)), v)
    growth = np.linalg.norm(by_lag, axis=-1) / np.linalg.norm(v, axis=-1)
    np.testing.assert_allclose(growth, powers(1.1), rtol=1e-12)


@pytest.mark.parametrize(("time", "left"), [(10, 0.34868), (100, 0.36603), (1000, 0.36770)])
def test_a_forget_bias_of_ln_t_minus_1_keeps_1_over_e_of_the_gradient_for_t_steps(time, left):
    cell = seqmem.LSTM(INPUTS, HIDDEN, key=jax.random.key(11))
    cell = eqx.tree_at(lambda cell: cell.U, cell, replace_fn=jnp.zeros_like)
    cell = seqmem.with_gate(cell, "forget", W=jnp.zeros((HIDDEN, INPUTS)), b=np.log(time - 1))
    v = cell.init_state()._replace(c=jnp.ones(HIDDEN))
    by_lag = gradients(cell, draw(12, time + 1, INPUTS), v).c
    expected = np.repeat((1 - 1 / time) ** np.arange(time + 1)[:, None], HIDDEN, 1)
    np.testing.assert_allclose(by_lag, expected, rtol=1e-12)
    np.testing.assert_allclose(by_lag[time], left, atol=5e-6)


@pytest.mark.parametrize("name", slow_but(KINDS, CELLS))
def test_gradient_at_a_probe_is_the_product_of_the_jacobians_after_it(name):
    time = 7
    cell = as_precision(CELLS[name](), jnp.dtype(jnp.float64))
    xs = draw(13, time, cell.input_size)
    start, unravel = ravel_pytree(cell.init_state())

    def step(flat, x):
        return ravel_pytree(cell(unravel(flat), x)[0])[0]

    states = [start]
    for x in xs:
        states.append(step(states[-1], x))
    jacobian = jax.jacfwd(step, holomorphic=jnp.iscomplexobj(start))
    jacobians = jax.jit(jax.vmap(jacobian))(jnp.stack(states[:-1]), xs)

    v = draw(14, start.size)
    v = jax.lax.complex(v, draw(15, start.size)) if jnp.iscomplexobj(start) else v
    by_lag = gradients(cell, xs, unravel(v))
    found = jax.vmap(lambda state: ravel_pytree(state)[0])(by_lag)
    expected = [v]
    for jacobian in jacobians[:0:-1]:
        expected.append(expected[-1] @ jacobian)
    np.testing.assert_allclose(found, jnp.stack(expected), rtol=1e-10, atol=1e-14)
