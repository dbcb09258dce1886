"""Newton's methods over time match a scan, values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._methods.newton.jacobian_diagonal import diagonal_by_leaf
from seqmem._testing.compiler import compiled
from tests.helpers.newton import (
    BATCH,
    HIDDEN,
    INPUT,
    METHODS,
    SCAN,
    TIME,
    differentiate,
    every_method,
    gru,
    relative_error,
    solve,
    values,
)
from tests.helpers.slow import slow
from tests.helpers.unrolling import close, normal

pytestmark = pytest.mark.usefixtures("float64")


@every_method
@pytest.mark.parametrize("gain", [1, slow(2)])
def test_newton_values_and_gradients_match_scan(method, gain):
    cell, xs = gru(gain, 32), normal(4096, INPUT)
    # One iteration per step is always enough.
    by_itself = type(method)(max_iters=256, fallback=None)
    solution, grads = differentiate(cell, xs, method=by_itself)
    assert solution.stats.converged
    want, want_grads = differentiate(cell, xs, method=SCAN)
    assert relative_error((values(solution), grads), (values(want), want_grads)) < 1e-6


@pytest.mark.slow
def test_quasi_newton_gradient_uses_whole_jacobians():
    """The authors' program solves the backward recurrence with the diagonals (ELK)."""
    cell, xs = gru(2, 32), normal(4096, INPUT)
    solution, (want, *_) = differentiate(cell, xs, method=SCAN)
    by_itself = seqmem.QuasiNewton(max_iters=256, fallback=None)
    assert relative_error(differentiate(cell, xs, method=by_itself)[1][0], want) < 1e-6
    by_diagonals = compiled(_gradient_by_diagonals)(cell, solution.outputs, xs)
    assert jnp.linalg.norm(by_diagonals.U - want.U) / jnp.linalg.norm(want.U) > 0.3


def _gradient_by_diagonals(cell, states, xs):
    """The gradient of the parameters when λ_t = ȳ_t + diag(J_{t+1}) ∘ λ_{t+1}."""
    before = jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]])

    def step(cell, state, x):
        return cell(state, x)[0]

    def pull(d_state, step_values):
        d_y, state, x = step_values
        d_state = d_state + d_y
        return jnp.diag(jax.jacfwd(step, 1)(cell, state, x)) * d_state, d_state

    d_ys = jnp.cos(states).at[-1].multiply(2)  # the last state is an output too
    _, d_states = jax.lax.scan(pull, jnp.zeros_like(states[0]), (d_ys, before, xs), reverse=True)
    _, pull_cell = jax.vjp(lambda cell: jax.vmap(functools.partial(step, cell))(before, xs), cell)
    return pull_cell(d_states)[0]


@jax.custom_jvp
def refuse_tangents(x):
    return x


@refuse_tangents.defjvp
def _refuse(primals, tangents):
    raise AssertionError("an iteration was differentiated")


class WatchedNewton(seqmem.Newton):
    """Newton's method that refuses to be differentiated through its iterations."""

    def solve_linear(self, problem, jacobians, residuals):
        residuals = jax.tree.map(refuse_tangents, residuals)
        return super().solve_linear(problem, jacobians, residuals)


def test_newton_iterations_are_not_differentiated():
    cell, xs = gru(1), normal(TIME, INPUT)
    _, grads = differentiate(cell, xs, method=WatchedNewton(chunk_size=7))
    close(grads, differentiate(cell, xs, method=SCAN)[1])


class Mixed(seqmem.AbstractCell):
    """A state of real and complex entries whose update has no complex derivative."""

    W: jax.Array

    def init_state(self):
        return jnp.full(2, 0.1), jnp.full(3, 0.1 + 0.2j)

    def project(self, x):
        return self.W @ x

    def update(self, state, u):
        r, z = state
        rotated = jnp.roll(jnp.conj(z), 1) * 0.5j + 0.3 * jnp.tanh(z.real).astype(z.dtype)
        return jnp.tanh(0.4 * r + z[:2].imag + u[:2]), rotated + (0.1 * r.sum() + u).astype(z.dtype)

    def readout(self, state, u):
        return state[0].sum() + jnp.abs(state[1])


@pytest.mark.parametrize("method", [slow(METHODS[0]), METHODS[1]], ids=lambda m: type(m).__name__)
def test_newton_solves_real_and_complex_states(method):
    cell, xs = Mixed(normal(3, INPUT)), normal(TIME, BATCH, INPUT)
    lengths = np.array([TIME, 7, 0])
    solution, grads = differentiate(cell, xs, lengths, method=method)
    assert solution.stats.converged.all()
    want, want_grads = differentiate(cell, xs, lengths, method=SCAN)
    close((values(solution), grads), (values(want), want_grads))


@pytest.mark.slow
def test_quasi_newton_converges_to_the_precision_of_bfloat16_parameters():
    cell = seqmem.GRU(INPUT, HIDDEN, key=jax.random.key(0))
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), cell)
    xs = normal(TIME, INPUT).astype(np.float32)
    solution = solve(cell, xs, method=seqmem.QuasiNewton(chunk_size=7))
    assert solution.outputs.dtype == jnp.float32
    assert solution.stats.converged
    want = solve(cell, xs, method=SCAN).outputs
    np.testing.assert_allclose(solution.outputs, want, atol=0.03)


def test_diagonal_of_a_complex_state_is_wirtingers_derivative():
    """Of a s + b s̄, which is not holomorphic, it is a."""
    a, b = 0.3 + 0.7j, 0.2 - 0.1j
    moved = lambda place, d: jnp.full(3, a * d + b * np.conj(d), jnp.complex64)  # noqa: E731
    got = diagonal_by_leaf(jnp.zeros(3, jnp.complex64), moved)
    np.testing.assert_allclose(got, a, rtol=1e-6)
