"""`solve` returns what `unroll` returns, and on request every state, and how they were found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._methods.evaluate import evaluate
from seqmem._methods.series import worst_of
from seqmem.layers import LayerByLayer, Stack
from tests.helpers.unrolling import BATCH, TIME, make, normal

ONE_ITERATION = seqmem.Newton(max_iters=1, fallback=None)
QUASI = seqmem.QuasiNewton(chunk_size=3)

pytestmark = pytest.mark.usefixtures("float64")


def stats(cell, xs, **options):
    return seqmem.solve(cell, None, xs, **options).stats


@pytest.mark.parametrize("remat_every", [None, 3])
def test_scan_converges_in_no_iterations(remat_every):
    found = stats(make(), normal(TIME, BATCH, 2), remat_every=remat_every)
    assert found.converged.tolist() == [True] * BATCH
    assert found.iterations.tolist() == [0] * BATCH
    assert stats(make(), normal(TIME, 2)).converged.shape == ()


def test_unroll_and_solve_share_one_program():
    cell, xs = make(seqmem.IndRNN), normal(TIME, BATCH, 2)
    before = evaluate._cache_size()
    state, ys = seqmem.unroll(cell, None, xs, method=QUASI)
    solution = seqmem.solve(cell, None, xs, method=QUASI)
    assert evaluate._cache_size() == before + 1
    np.testing.assert_array_equal(state, solution.state)
    np.testing.assert_array_equal(ys, solution.outputs)
    assert solution.states is None


def test_sequence_converges_if_every_segment_does():
    cell, xs, lengths = make(), normal(TIME, BATCH, 2), [TIME, 1, 0]
    found = stats(cell, xs, lengths=lengths, method=ONE_ITERATION)
    assert found.converged.tolist() == [False, True, True]
    found = stats(cell, xs, lengths=lengths, method=ONE_ITERATION, remat_every=1)
    assert found.converged.tolist() == [True] * BATCH
    assert found.iterations.tolist() == [1, 1, 0]


def test_stack_converges_if_every_layer_does():
    keys = jax.random.split(jax.random.key(0))
    stack = Stack([seqmem.RNN(2, 5, key=keys[0]), seqmem.IndRNN(5, 3, key=keys[1])])
    xs = normal(TIME, BATCH, 2)
    found = stats(stack, xs, method=LayerByLayer(seqmem.Scan(), ONE_ITERATION))
    assert found.converged.tolist() == [False] * BATCH
    found = stats(stack, xs, method=LayerByLayer(QUASI, None))
    assert found.converged.tolist() == [True] * BATCH
    assert (found.iterations > 0).all()


def test_newton_converges_where_there_are_no_steps():
    assert stats(make(), normal(0, BATCH, 2), method=QUASI).converged.tolist() == [True] * BATCH


def test_stats_pass_through_jit_vmap_and_grad():
    cell, xs = make(), normal(TIME, BATCH, 2)

    def loss(cell, xs):
        solution = seqmem.solve(cell, None, xs, method=QUASI)
        # A loss may depend on convergence.
        value = jnp.where(solution.stats.converged.all(), jnp.sum(solution.outputs), jnp.nan)
        return value, solution.stats

    grads, found = jax.jit(jax.grad(loss, has_aux=True))(cell, xs)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    mapped = jax.vmap(jax.grad(loss, has_aux=True), in_axes=(None, 1))(cell, xs)[1]
    assert found.converged.tolist() == mapped.converged.tolist() == [True] * BATCH
    assert found.iterations.tolist() == mapped.iterations.tolist()


def test_statistics_of_two_runs_are_those_of_the_worse():
    first = seqmem.Stats(jnp.array([True, False, True]), jnp.array([3, 5, 7]))
    second = seqmem.Stats(jnp.array([True, True, False]), jnp.array([5, 2, 7]))
    both = worst_of(first, second)
    assert both.converged.tolist() == [True, False, False]
    assert both.iterations.tolist() == [5, 5, 7]
    assert worst_of(None, second) is second
    assert worst_of(first, None) is first
    assert worst_of(None, None) is None
