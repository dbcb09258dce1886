"""Jacobians along a trajectory and their products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import seqmem
from seqmem import dynamics
from tests.helpers.cells import CELLS
from tests.helpers.slow import slow

TIME, BATCH = 7, 3

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("name", [slow("LSTM"), "GRU", slow("Stack")])
def test_first_transition_is_the_derivative_of_the_final_state(name):
    cell, xs = CELLS[name](), draw(1, TIME, BATCH, 2)
    products = dynamics.transitions(jax.jit(dynamics.state_jacobians)(cell, None, xs))
    vector, unravel = ravel_pytree(cell.init_state())

    def final_vectors(vector):
        state, _ = seqmem.unroll(cell, unravel(vector), xs)
        return jax.vmap(lambda state: ravel_pytree(state)[0])(state)

    expected = jax.jit(jax.jacrev(final_vectors))(vector)
    np.testing.assert_allclose(products[0], expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(products[-1, 0], np.eye(len(vector)))


def test_transitions_are_the_products_of_a_loop():
    jacobians, expected = draw(1, TIME, BATCH, 5, 5), [np.tile(np.eye(5), (BATCH, 1, 1))]
    for jacobian in jacobians[::-1]:
        expected.insert(0, expected[0] @ jacobian)
    np.testing.assert_allclose(dynamics.transitions(jnp.asarray(jacobians)), expected, rtol=1e-12)


def test_log_determinants_are_those_of_numpy():
    jacobians = draw(1, TIME, BATCH, 5, 5)
    expected = np.log(np.abs(np.linalg.det(jacobians)))
    np.testing.assert_allclose(dynamics.log_determinants(jnp.asarray(jacobians)), expected)


@pytest.mark.parametrize("reverse", [slow(False), True])
def test_jacobians_of_padding_are_identities(reverse):
    cell, xs = CELLS["GRU"](), draw(1, TIME, BATCH, 2)
    options = {"lengths": jnp.array([TIME, 4, 0]), "reverse": reverse}
    jacobians = dynamics.state_jacobians(cell, None, xs, **options)
    products = dynamics.transitions(jacobians[::-1] if reverse else jacobians)

    def final_states(state):
        return seqmem.unroll(cell, state, xs, **options)[0]

    expected = jax.jit(jax.jacrev(final_states))(cell.init_state())
    np.testing.assert_allclose(products[0], expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(dynamics.log_determinants(jacobians)[4:, 1], 0)
    np.testing.assert_array_equal(jacobians[0, 2], np.eye(5))


def test_jacobian_of_a_masked_step_is_the_identity():
    cell, xs = CELLS["GRU"](), draw(1, TIME, 2)
    mask = np.arange(TIME) != 3
    jacobians_of = jax.jit(dynamics.state_jacobians)
    jacobians = jacobians_of(cell, None, xs, mask=mask)
    np.testing.assert_array_equal(jacobians[3], np.eye(5))
    expected = jacobians_of(cell, None, xs[mask])
    np.testing.assert_allclose(jacobians[mask], expected, rtol=1e-12)


@pytest.mark.parametrize("function", [dynamics.transitions, dynamics.log_determinants])
@pytest.mark.parametrize("shape", [(9, 2), (7, 3, 5)])
def test_jacobians_that_are_not_square_are_refused(function, shape):
    with pytest.raises(ValueError, match=r"(?s)jacobians.*Expected: .*What to do: "):
        function(jnp.ones(shape))
