"""Newton's methods over time match a scan, and report where they do not converge."""

import functools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._methods.newton.jacobian_diagonal import diagonal_by_leaf
from seqmem._testing.compiler import compiled
from tests.helpers.slow import slow
from tests.helpers.unrolling import close, normal

SCAN = seqmem.Scan()
TIME, BATCH, INPUT, HIDDEN = 23, 3, 2, 5
METHODS = (seqmem.Newton(chunk_size=7), seqmem.QuasiNewton(chunk_size=7))
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)

pytestmark = pytest.mark.usefixtures("float64")


def gru(gain, hidden=HIDDEN):
    """A GRU in float64, its initial recurrent weights multiplied by `gain`."""
    cell = seqmem.GRU(INPUT, hidden, key=jax.random.key(0))
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), cell)
    return eqx.tree_at(lambda cell: cell.U, cell, gain * cell.U)


def solve(cell, xs, lengths=None, resets=None, state=None, *, method, reverse=False):
    """The solution, compiled without optimisation."""
    return compiled(_solve, 0, 1)(method, reverse, cell, xs, lengths, resets, state)


def _solve(method, reverse, cell, xs, lengths, resets, state):
    return seqmem.solve(
        cell, state, xs, lengths=lengths, resets=resets, method=method, reverse=reverse
    )


def differentiate(cell, xs, lengths=None, *, method):
    """The solution, and the gradients of parameters, state and inputs."""
    return compiled(_differentiate, 0)(method, cell, cell.init_state(), xs, lengths)


def _differentiate(method, cell, state, xs, lengths):
    def loss(cell, state, xs):
        solution = _solve(method, False, cell, xs, lengths, None, state)
        values = jax.tree.leaves((solution.state, solution.outputs))
        return sum(jnp.sum(jnp.sin(leaf).real) for leaf in values), solution

    grads, solution = jax.grad(loss, (0, 1, 2), has_aux=True)(cell, state, xs)
    return solution, grads


def values(solution):
    return solution.state, solution.outputs


def relative_error(got, want):
    """The largest difference, relative to the largest entry of each leaf."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)


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


def test_fallback_computes_what_diverges():
    """At gain 3 a long sequence overflows; a short one needs at most one iteration per step."""
    cell, xs, lengths = gru(3, 17), normal(199, BATCH, INPUT), jnp.array([199, 5, 0])
    by_itself = seqmem.Newton(chunk_size=None, max_iters=31, fallback=None)
    wrong = solve(cell, xs, lengths, method=by_itself)
    assert wrong.stats.converged.tolist() == [False, True, True]
    assert wrong.stats.iterations[0] == 31
    assert wrong.stats.iterations[1] <= 5
    assert wrong.stats.iterations[2] == 0
    want = solve(cell, xs, lengths, method=SCAN)
    assert relative_error(wrong.outputs[:, 0], want.outputs[:, 0]) > 0.1

    repaired = solve(cell, xs, lengths, method=seqmem.Newton(chunk_size=None, max_iters=31))
    assert repaired.stats.converged.tolist() == [False, True, True]
    close(values(repaired), values(want))
    np.testing.assert_array_equal(repaired.outputs[:, 1:], wrong.outputs[:, 1:])


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


@pytest.mark.slow
def test_quasi_newton_takes_no_iteration_for_padding():
    """With a Jacobian of 1 at padded steps they follow the last valid step at once."""
    cell, xs = gru(2), normal(TIME, INPUT)
    method = seqmem.QuasiNewton(chunk_size=None, fallback=None)
    for reverse in (False, True):
        padded = solve(cell, xs, np.array(5), method=method, reverse=reverse)
        short = solve(cell, xs[:5], method=method, reverse=reverse)
        assert padded.stats.converged
        assert padded.stats.iterations <= short.stats.iterations


@every_method
def test_newton_solves_each_sequence_independently(method):
    """Within one program to the bit, whatever iterations the others take; alone, to rounding."""
    cell, xs, method = gru(2), normal(TIME, 2, INPUT), type(method)(chunk_size=None)
    changed = xs.copy()
    changed[:, 1] = 0
    first, second = solve(cell, xs, method=method), solve(cell, changed, method=method)
    assert first.stats.iterations[0] == second.stats.iterations[0] > second.stats.iterations[1]
    np.testing.assert_array_equal(first.outputs[:, 0], second.outputs[:, 0])
    alone = solve(cell, xs[:, 0], method=method)
    assert alone.stats.iterations == first.stats.iterations[0]
    close(first.outputs[:, 0], alone.outputs)


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("reverse", [False, slow(True)])
def test_newton_reset_hides_nan_before_it(method, reverse):
    cell, xs = gru(1), normal(TIME, BATCH, INPUT)
    resets = np.zeros((TIME, BATCH), bool)
    resets[11] = True
    after = slice(11) if reverse else slice(11, TIME)
    poisoned, state = np.full_like(xs, np.nan), np.full((BATCH, HIDDEN), np.nan)
    poisoned[after] = xs[after]
    run = functools.partial(solve, cell, resets=resets, state=state, reverse=reverse)
    ys = run(poisoned, method=method).outputs
    close(ys[after], run(xs, method=SCAN).outputs[after])
    assert np.all(np.isnan(ys[11:] if reverse else ys[:11]))


@pytest.mark.slow
@every_method
def test_newton_propagates_nan_as_scan_does(method):
    """A NaN in the inputs is in every later output, and counts as converged."""
    cell, xs = gru(1), normal(TIME, INPUT)
    xs[5] = np.nan
    solution = solve(cell, xs, method=method)
    assert solution.stats.converged
    want = solve(cell, xs, method=SCAN).outputs
    np.testing.assert_array_equal(np.isnan(solution.outputs), np.isnan(want))


def test_overflow_to_nan_in_an_iteration_is_not_convergence():
    """A chaotic network in float32; XLA's max over the residuals may ignore a NaN."""
    cell = seqmem.with_gain(seqmem.RNN(INPUT, 32, key=jax.random.key(0)), 4)
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), cell)
    xs = normal(256, INPUT).astype(np.float32)
    solution = solve(cell, xs, method=seqmem.Newton(chunk_size=None, max_iters=31))
    assert not solution.stats.converged
    np.testing.assert_array_equal(solution.outputs, solve(cell, xs, method=SCAN).outputs)


@pytest.mark.slow
@every_method
def test_newton_converging_at_the_last_iteration_is_success(method):
    cell, xs = gru(1), normal(TIME, INPUT)
    needed = int(solve(cell, xs, method=method).stats.iterations)
    for allowed, converged in ((needed, True), (needed - 1, False)):
        limited = type(method)(chunk_size=7, max_iters=allowed, fallback=None)
        stats = solve(cell, xs, method=limited).stats
        assert bool(stats.converged) is converged
        assert stats.iterations == allowed


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


class Counter(seqmem.AbstractCell):
    """A cell with an integer in its state."""

    def init_state(self):
        return jnp.zeros(2), jnp.zeros((), jnp.int32)

    def project(self, x):
        return x

    def update(self, state, u):
        raise AssertionError("traced before it was refused")

    def readout(self, state, u):
        raise AssertionError("traced before it was refused")


@every_method
def test_newton_refuses_an_integer_state(method):
    with pytest.raises(
        ValueError, match=r"(?s)int32.*Expected: real or complex.*What to do: .*Scan\(\)"
    ):
        seqmem.unroll(Counter(), None, normal(TIME, INPUT), method=method)


def test_newton_refuses_large_jacobians_and_names_a_chunk_size_that_fits():
    cell, xs = gru(1), normal(TIME, BATCH, INPUT)
    step_bytes = BATCH * HIDDEN**2 * 8
    limit = 10 * step_bytes + 1
    method = seqmem.Newton(max_bytes=limit)
    sentence = rf"(?s)take {TIME * step_bytes} bytes.*Expected: .*{limit}.*QuasiNewton"
    with pytest.raises(ValueError, match=sentence) as refusal:
        seqmem.unroll(cell, None, xs, method=method)
    chunk_size = int(re.search(r"at most (\d+) steps", str(refusal.value)).group(1))
    assert chunk_size == 10
    fitting = seqmem.Newton(chunk_size=chunk_size, max_bytes=limit)
    assert solve(cell, xs, method=fitting).stats.converged.all()


@pytest.mark.parametrize("kind", [seqmem.Newton, seqmem.QuasiNewton])
@pytest.mark.parametrize(
    "settings",
    [
        {"chunk_size": 0},
        {"chunk_size": 2.5},
        {"max_iters": 0},
        {"tolerance": 0.0},
        {"fallback": "scan"},
        {"fallback": seqmem.Scan(transform=seqmem.gradients.ClipNorm(1.0))},
    ],
    ids=str,
)
def test_newton_refuses_settings_out_of_range(kind, settings):
    name = next(iter(settings))
    with pytest.raises(ValueError, match=rf"(?s)Newton got {name}=.*Expected: .*What to do: "):
        kind(**settings)


def test_diagonal_of_a_complex_state_is_wirtingers_derivative():
    """Of a s + b s̄, which is not holomorphic, it is a."""
    a, b = 0.3 + 0.7j, 0.2 - 0.1j
    moved = lambda place, d: jnp.full(3, a * d + b * np.conj(d), jnp.complex64)  # noqa: E731
    got = diagonal_by_leaf(jnp.zeros(3, jnp.complex64), moved)
    np.testing.assert_allclose(got, a, rtol=1e-6)
