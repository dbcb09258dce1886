"""solve is unroll, and what the method has to tell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.unrolling import BATCH, TIME, make, normal

import seqmem
from seqmem._unroll import _unroll
from seqmem.layers import LayerByLayer, Stack

HASTY = seqmem.Newton(max_iters=1, fallback=None)
QUASI = seqmem.QuasiNewton(chunk_size=3)

pytestmark = pytest.mark.usefixtures("float64")


def told(cell, xs, **options):
    return seqmem.solve(cell, cell.init_state(), xs, **options)[2]


@pytest.mark.parametrize("chunk", [None, 3])
def test_a_method_that_cannot_fail_reports_success_and_no_sweeps(chunk):
    report = told(make(), normal(TIME, BATCH, 2), remat_every=chunk)
    assert report.converged.tolist() == [True] * BATCH
    assert report.iterations.tolist() == [0] * BATCH
    assert told(make(), normal(TIME, 2)).converged.shape == ()


def test_both_verbs_are_compiled_once():
    cell, xs = make(seqmem.IndRNN), normal(TIME, BATCH, 2)
    before = _unroll._cache_size()
    state, ys = seqmem.unroll(cell, cell.init_state(), xs, method=QUASI)
    again, shown, _ = seqmem.solve(cell, cell.init_state(), xs, method=QUASI)
    assert _unroll._cache_size() == before + 1
    np.testing.assert_array_equal(state, again)
    np.testing.assert_array_equal(ys, shown)


def test_a_sequence_converges_where_all_its_chunks_do():
    cell, xs, lengths = make(), normal(TIME, BATCH, 2), np.array([TIME, 1, 0])
    assert told(cell, xs, lengths=lengths, method=HASTY).converged.tolist() == [False, True, True]
    report = told(cell, xs, lengths=lengths, method=HASTY, remat_every=1)
    assert report.converged.tolist() == [True] * BATCH
    assert report.iterations.tolist() == [1, 1, 0]


def test_a_stack_converges_where_all_its_layers_do():
    keys = jax.random.split(jax.random.key(0))
    stack = Stack([seqmem.RNN(2, 5, key=keys[0]), seqmem.IndRNN(5, 3, key=keys[1])])
    xs = normal(TIME, BATCH, 2)
    report = told(stack, xs, method=LayerByLayer(seqmem.Scan(), HASTY))
    assert report.converged.tolist() == [False] * BATCH
    report = told(stack, xs, method=LayerByLayer(QUASI, None))
    assert report.converged.tolist() == [True] * BATCH
    assert (report.iterations > 0).all()


def test_no_time_is_no_sweep():
    report = told(make(), normal(0, BATCH, 2), method=QUASI)
    assert report.converged.tolist() == [True] * BATCH


def test_a_report_comes_out_of_jit_vmap_and_grad():
    cell, xs = make(), normal(TIME, BATCH, 2)

    def loss(cell, xs):
        _, ys, report = seqmem.solve(cell, cell.init_state(), xs, method=QUASI)
        # A loss may look at it: here it counts only where all converged.
        return jnp.where(report.converged.all(), jnp.sum(ys), jnp.nan), report

    grads, report = jax.jit(jax.grad(loss, has_aux=True))(cell, xs)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    mapped = jax.vmap(jax.grad(loss, has_aux=True), in_axes=(None, 1))(cell, xs)[1]
    assert report.converged.tolist() == mapped.converged.tolist() == [True] * BATCH
    assert report.iterations.tolist() == mapped.iterations.tolist()
