"""Gradients over time that are known exactly, as gradients of perturbations of `unroll`.

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
from seqmem._core.shapes import leading_axes
from tests.helpers.cells import CELLS, KINDS, LARGE, shapes_of
from tests.helpers.inputs import draw_inputs
from tests.helpers.linear import linear_rnn
from tests.helpers.slow import slow, slow_but

TIME, BATCH, INPUT, HIDDEN = 23, 3, 2, 5

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def rnn(U, activation):
    cell = seqmem.RNN(INPUT, HIDDEN, activation=activation, key=jax.random.key(0))
    return eqx.tree_at(lambda cell: cell.U, cell, jnp.asarray(U))


def rotation(seed):
    return np.linalg.qr(draw(seed, HIDDEN, HIDDEN))[0]


@jax.jit
def gradients_by_lag(cell, xs, v):
    """∂L/∂s_{T−k} for k = 0 … T − 1, where L = Σ v · s_T, as gradients of perturbations of 0."""
    init = cell.init_state()
    leading = leading_axes(cell.input_shape, xs)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leading + leaf.shape, leaf.dtype), init)

    def final_state(perturbations):
        return seqmem.unroll(cell, None, xs, perturbations=perturbations)[0]

    return jax.tree.map(lambda leaf: leaf[::-1], jax.vjp(final_state, zeros)[1](v)[0])


def growth_by_lag(cell, xs, v):
    """The norm of the gradient at each lag, relative to that at lag 0."""
    gradients = gradients_by_lag(cell, jnp.asarray(xs), jnp.asarray(v))
    return np.linalg.norm(gradients, axis=-1) / np.linalg.norm(v, axis=-1)


def powers(rate):
    """rate^k at lag k, for each example."""
    return np.repeat(rate ** np.arange(TIME)[:, None], BATCH, 1)


def test_gradient_of_a_linear_network_is_a_power_of_its_matrix():
    U = 0.7 * draw(1, HIDDEN, HIDDEN)
    xs = jnp.asarray(np.repeat(draw(2, TIME, 1, INPUT), HIDDEN, 1))
    jacobians = gradients_by_lag(linear_rnn(U), xs, jnp.eye(HIDDEN))  # example i: entry i of h_T
    for lag, jacobian in enumerate(jacobians):
        expected = np.linalg.matrix_power(U, lag)
        np.testing.assert_allclose(jacobian, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_gradient_of_a_recurrent_weight_is_the_derivative_of_a_power():
    rate, start = 0.93, jnp.array([1.7])

    def final_state(cell):
        return seqmem.unroll(cell, start, jnp.zeros((TIME, 1)))[0][0]

    cell = linear_rnn(rate, input_size=1, hidden_size=1)
    derivative = jax.jit(jax.grad(final_state))(cell).U[0, 0]
    np.testing.assert_allclose(derivative, 1.7 * TIME * rate ** (TIME - 1), rtol=1e-12)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.1])
def test_gradient_of_a_scaled_rotation_is_a_power_of_the_scale(gain):
    growth = growth_by_lag(
        linear_rnn(gain * rotation(4)), draw(5, TIME, BATCH, INPUT), draw(3, BATCH, HIDDEN)
    )
    np.testing.assert_allclose(growth, powers(gain), rtol=1e-12)


@pytest.mark.parametrize("gain", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(("activation", "slope"), [(jnp.tanh, 1.0), (jax.nn.sigmoid, 0.25)])
def test_gradient_is_below_the_bound_of_pascanu(activation, slope, gain):
    U = gain * draw(6, HIDDEN, HIDDEN)
    growth = growth_by_lag(rnn(U, activation), draw(8, TIME, BATCH, INPUT), draw(7, BATCH, HIDDEN))
    assert (growth <= powers(slope * np.linalg.norm(U, 2)) * (1 + 1e-12)).all()
    assert (growth > 0).all()


def test_bound_of_pascanu_is_reached_where_the_slope_is_largest():
    """Without inputs a tanh network stays at 0, where its slope is 1."""
    growth = growth_by_lag(
        rnn(1.1 * rotation(10), jnp.tanh), np.zeros((TIME, BATCH, INPUT)), draw(9, BATCH, HIDDEN)
    )
    np.testing.assert_allclose(growth, powers(1.1), rtol=1e-12)


@pytest.mark.parametrize(("time", "share"), [(10, 0.34868), (100, 0.36603), slow(1000, 0.36770)])
def test_forget_bias_of_ln_t_minus_1_passes_1_over_e_of_the_gradient_over_t_steps(time, share):
    cell = seqmem.LSTM(INPUT, HIDDEN, key=jax.random.key(11))
    cell = eqx.tree_at(lambda cell: cell.U, cell, replace_fn=jnp.zeros_like)
    cell = seqmem.with_gate(cell, "forget", W=jnp.zeros((HIDDEN, INPUT)), b=np.log(time - 1))
    v = cell.init_state()._replace(c=jnp.ones(HIDDEN))
    gradients = gradients_by_lag(cell, jnp.asarray(draw(12, time + 1, INPUT)), v).c
    expected = np.repeat((1 - 1 / time) ** np.arange(time + 1)[:, None], HIDDEN, 1)
    np.testing.assert_allclose(gradients, expected, rtol=1e-12)
    np.testing.assert_allclose(gradients[time], share, atol=5e-6)


def is_vector(state):
    """Whether all leaves are real, or all complex: the state has one Jacobian."""
    (dtype, *others) = {leaf.dtype for leaf in jax.tree.leaves(state)}
    return not others and jnp.issubdtype(dtype, jnp.inexact)


# Not those of Mamba-3, which are real and complex, nor those that count steps.
VECTORS = [
    name
    for name in LARGE
    if is_vector(eqx.filter_eval_shape(lambda cell: cell.init_state(), shapes_of(name)))
]


@pytest.mark.parametrize(
    "name", slow_but(KINDS - {"LSTM", "ResetBeforeGRU", "S6", "Stack"}, VECTORS)
)
def test_gradient_of_a_perturbation_is_the_product_of_the_later_jacobians(name):
    time = 5
    cell = as_precision(CELLS[name](), jnp.dtype(jnp.float64))
    xs = jax.tree.map(jnp.asarray, draw_inputs(cell, np.random.default_rng(13), time))
    start, unravel = ravel_pytree(cell.init_state())

    def step(vector, x):
        return ravel_pytree(cell(unravel(vector), x)[0])[0]

    jacobian = jax.jacfwd(step, holomorphic=jnp.iscomplexobj(start))

    @jax.jit
    def jacobians_of_loop(start):
        def body(vector, x):
            return step(vector, x), jacobian(vector, x)

        return jax.lax.scan(body, start, xs)[1]

    v = draw(14, start.size) + (1j * draw(15, start.size) if jnp.iscomplexobj(start) else 0)
    gradients = gradients_by_lag(cell, xs, unravel(jnp.asarray(v)))
    vectors = jax.vmap(lambda state: ravel_pytree(state)[0])(gradients)
    expected = [v]
    for J in np.asarray(jacobians_of_loop(start))[:0:-1]:
        expected.append(expected[-1] @ J)
    np.testing.assert_allclose(vectors, np.stack(expected), rtol=1e-10, atol=1e-14)
