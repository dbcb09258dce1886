"""Newton's methods where they converge late or not at all, and at padding, resets and NaN."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.newton import (
    BATCH,
    HIDDEN,
    INPUT,
    SCAN,
    TIME,
    every_method,
    gru,
    relative_error,
    solve,
    values,
)
from tests.helpers.slow import slow
from tests.helpers.unrolling import close, normal

pytestmark = pytest.mark.usefixtures("float64")


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


def test_numbers_far_below_the_tolerance_are_exact():
    cell, xs = gru(1), 1e-20 * normal(TIME, INPUT)
    got = solve(cell, xs, method=seqmem.Newton(chunk_size=7))
    want = solve(cell, xs, method=SCAN)
    assert relative_error(values(got), values(want)) < 1e-12


def test_last_correction_is_not_made_where_it_grows_over_time():
    """The linear step multiplies by 3, and tanh is at most 1."""
    cell = seqmem.RNN(INPUT, HIDDEN, key=jax.random.key(0))
    cell = eqx.tree_at(lambda cell: cell.U, cell, 3.0 * jnp.eye(HIDDEN))
    rough = seqmem.Newton(chunk_size=None, tolerance=0.01)
    solution = solve(cell, 1e-3 * normal(TIME, INPUT), method=rough)
    assert solution.stats.converged
    assert jnp.abs(solution.outputs).max() <= 1


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
