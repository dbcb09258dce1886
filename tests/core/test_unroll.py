"""The contract of `unroll` that the laws leave out: lengths of time, arguments, transformations."""

import functools
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import seqmem
from seqmem._testing.compiler import compiled
from seqmem._testing.reference_loop import SequenceFlags, run_reference
from seqmem._testing.runs import RunOptions, StepInputs, Values, evaluate, without_states
from tests.helpers.unrolling import (
    BATCH,
    HIDDEN,
    INPUT,
    METHODS,
    REFERENCE,
    TIME,
    close,
    every_method,
    gradients,
    make,
    normal,
)

pytestmark = pytest.mark.usefixtures("float64")


# Lengths of time


def check_against_loop(cell, options, time):
    lengths, resets = np.array([time, time // 3]), normal(time, 2) > 0.8
    state = jax.tree.map(lambda leaf: normal(2, *leaf.shape), cell.init_state())
    xs = normal(time, 2, INPUT)
    shapes = jax.eval_shape(functools.partial(seqmem.unroll, cell), state, xs)
    cotangents = Values(*jax.tree.map(lambda leaf: normal(*leaf.shape), shapes))
    steps = StepInputs(lengths, resets)
    got = compiled(evaluate, 0)(options, cell, state, xs, steps, cotangents)
    flags = SequenceFlags("", lengths, resets)
    want = run_reference(cell, state, xs, flags, cotangents, reverse=options.reverse)
    close(without_states(got), without_states(want))


@every_method
@pytest.mark.parametrize(("remat_every", "reverse"), [(None, True), (5, False)])
def test_unroll_matches_a_loop_of_17_steps(method, remat_every, reverse):
    check_against_loop(make(seqmem.IndRNN), RunOptions(method, remat_every, reverse), time=17)


@pytest.mark.parametrize("time", [1, 2, 4, 5, 6])
def test_remat_every_may_be_less_and_more_than_the_time(time):
    check_against_loop(make(seqmem.IndRNN), RunOptions(seqmem.Scan(), 5, time == 2), time)


@every_method
@pytest.mark.parametrize("remat_every", [None, 1])
def test_sequence_without_steps_returns_the_state_and_its_gradient(method, remat_every):
    cell, state, xs = make(), normal(BATCH, HIDDEN), np.zeros((0, BATCH, INPUT))
    final, ys = seqmem.unroll(cell, state, xs, method=method, remat_every=remat_every)
    np.testing.assert_array_equal(final, state)
    assert ys.shape == (0, BATCH, HIDDEN)
    d_cell, d_state, d_xs = gradients(cell, state, xs, method=method, remat_every=remat_every)
    close(d_state, np.cos(state))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(d_cell))
    assert d_xs.shape == xs.shape


# Arguments


def test_lengths_may_be_a_list():
    cell, xs = make(), normal(TIME, BATCH, INPUT)
    got = seqmem.unroll(cell, None, xs, lengths=[7, 4, 0])
    chex.assert_trees_all_equal(got, seqmem.unroll(cell, None, xs, lengths=np.array([7, 4, 0])))
    assert not np.any(got[1][4:, 1])
    assert np.all(got[1][:4, 1] != 0)


def test_numpy_float64_inputs_narrow_to_float32():
    with jax.enable_x64(False):
        cell, state = make(seqmem.LSTM), make(seqmem.LSTM).init_state()
        xs = normal(TIME, BATCH, INPUT)
        assert xs.dtype == np.float64
        wide_state = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state)
        got = seqmem.unroll(cell, wide_state, xs)
        assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {np.dtype(np.float32)}
        want = seqmem.unroll(cell, state, jnp.asarray(xs, jnp.float32))
        chex.assert_trees_all_equal(got, want)


def test_state_none_is_the_initial_state_of_every_sequence():
    cell = seqmem.with_learned_state(make(seqmem.GRU), normal(HIDDEN))
    xs = normal(TIME, BATCH, INPUT)
    got = seqmem.unroll(cell, None, xs)
    chex.assert_trees_all_equal(got, seqmem.unroll(cell, cell.init_state(), xs))
    chex.assert_trees_all_equal(got, seqmem.unroll(cell, cell.init_state(BATCH), xs))


# Lengths and resets


def test_traced_lengths_are_clamped():
    cell, xs, state = make(), normal(TIME, BATCH, INPUT), normal(BATCH, HIDDEN)
    # With `reverse`, a transform counts its steps from the length.
    method = seqmem.Scan(transform=seqmem.gradients.Detach(TIME))

    @jax.jit
    def run(lengths):
        def loss(state):
            run = seqmem.unroll(cell, state, xs, lengths=lengths, reverse=True, method=method)
            return sum(map(jnp.sum, run)), run

        return jax.grad(loss, has_aux=True)(state)

    unclamped, clamped = run(np.array([99, -3, 4])), run(np.array([TIME, 0, 4]))
    chex.assert_trees_all_equal(unclamped, clamped)
    gradient, (_, ys) = unclamped
    assert np.all(ys[0, 0] != 0)
    assert np.all(gradient != 0)


def test_reset_separates_the_same_steps_in_reverse():
    cell, xs = make(), normal(TIME, INPUT)
    state, cut = normal(HIDDEN), 3
    resets = np.arange(TIME) == cut
    _, forward = seqmem.unroll(cell, state, xs, resets=resets)
    close(forward[cut:], seqmem.unroll(cell, None, xs[cut:])[1])
    _, backward = seqmem.unroll(cell, state, xs, resets=resets, reverse=True)
    close(backward[:cut], seqmem.unroll(cell, None, xs[:cut], reverse=True)[1])
    close(backward[cut:], seqmem.unroll(cell, state, xs[cut:], reverse=True)[1])


# Transformations


class Counted(seqmem.AbstractCell):
    """A cell that records how often it is traced."""

    W: Array
    traces: ClassVar[list] = []

    def __init__(self):
        self.W = jnp.asarray(normal(HIDDEN, INPUT))

    def init_state(self):
        return jnp.zeros(HIDDEN, self.W.dtype)

    def project(self, x):
        return self.W @ x

    def update(self, h, u):
        self.traces.append(u)
        return jnp.tanh(h + u)

    def readout(self, h, u):
        return h


@every_method
def test_unroll_outside_of_jit_is_compiled_once(method):
    cell, xs = Counted(), normal(TIME, BATCH, INPUT)
    cell.traces.clear()
    state = jnp.zeros((BATCH, HIDDEN))
    run = functools.partial(seqmem.unroll, cell, method=method, remat_every=3)
    state, _ = run(state, xs, lengths=np.array([7, 4, 0]))
    once = len(cell.traces)
    assert once > 0
    run(state, 2 * xs, lengths=np.array([1, 2, 3]))
    assert len(cell.traces) == once
    run(state, xs[:5], lengths=np.array([1, 2, 3]))
    assert len(cell.traces) > once  # the count is one of compilations


@pytest.mark.slow
@every_method
def test_scan_over_segments_matches_one_unroll(method):
    cell, xs = make(seqmem.GRU), normal(2 * TIME, BATCH, INPUT)
    state = normal(BATCH, HIDDEN)

    def segments(cell, state, xs):
        step = functools.partial(seqmem.unroll, cell, method=method)
        state, ys = jax.lax.scan(step, state, xs.reshape(2, TIME, BATCH, INPUT))
        return state, ys.reshape(2 * TIME, BATCH, HIDDEN)

    def loss(run, cell, state, xs):
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(run(cell, state, xs)))

    def compute(run):
        return jax.jit(jax.value_and_grad(functools.partial(loss, run), (0, 1, 2)))(cell, state, xs)

    close(compute(segments), compute(functools.partial(seqmem.unroll, method=REFERENCE)))


def test_checkpoint_around_unroll_keeps_the_gradient():
    cell, state, xs = make(), normal(BATCH, HIDDEN), normal(TIME, BATCH, INPUT)

    def loss(cell, state, xs):
        _, ys = jax.checkpoint(seqmem.unroll)(cell, state, xs)
        return jnp.sum(jnp.sin(ys))

    def plain(cell, state, xs):
        return jnp.sum(jnp.sin(seqmem.unroll(cell, state, xs)[1]))

    close(jax.grad(loss, (0, 1, 2))(cell, state, xs), jax.grad(plain, (0, 1, 2))(cell, state, xs))


def test_vmap_may_map_over_any_axis():
    cell, xs = make(), normal(TIME, BATCH, INPUT)
    _, ys = seqmem.unroll(cell, None, xs)
    run = functools.partial(seqmem.unroll, cell, cell.init_state())
    _, mapped = jax.vmap(run, in_axes=1, out_axes=(0, 2))(xs)
    close(mapped, jnp.moveaxis(ys, 1, 2))


def test_donated_state_is_deleted_and_numbers_stay():
    cell, xs = make(seqmem.LSTM), normal(TIME, BATCH, INPUT)
    state, _ = seqmem.unroll(cell, None, xs)
    want, _ = seqmem.unroll(cell, state, xs)
    run = jax.jit(seqmem.unroll, donate_argnums=1)
    got, _ = run(cell, state, xs)
    close(got, want)
    assert state.h.is_deleted()
    assert state.c.is_deleted()
    run(cell, got, xs)


def test_parameters_may_be_computed_under_grad():
    xs, state = normal(TIME, BATCH, INPUT), normal(BATCH, HIDDEN)

    def loss(scale, method):
        cell = jax.tree.map(lambda leaf: scale * leaf, make())
        return jnp.sum(jnp.sin(seqmem.unroll(cell, state, xs, method=method)[1]))

    got, want = (jax.jit(jax.grad(functools.partial(loss, method=m)))(0.7) for m in METHODS[::3])
    close(got, want)


def test_gradient_of_the_parameters_alone_matches_reference_scan():
    cell, xs = make(), normal(TIME, BATCH, INPUT)

    def loss(cell, method):
        return seqmem.unroll(cell, None, xs, method=method)[1].sum()

    close(jax.grad(loss)(cell, seqmem.Scan()), jax.grad(loss)(cell, REFERENCE))


@pytest.mark.slow
def test_reference_scan_jvp_matches_scan_vjp():
    cell, xs = make(), normal(TIME, INPUT)

    def run(xs, method):
        return seqmem.unroll(cell, None, xs, method=method)[1]

    _, forward = jax.jvp(functools.partial(run, method=REFERENCE), (xs,), (xs,))
    backward = jax.jacrev(functools.partial(run, method=seqmem.Scan()))(xs)
    close(forward, jnp.tensordot(backward, xs, 2))


@pytest.mark.parametrize("method", [seqmem.Scan(), seqmem.Scan(tile=1), REFERENCE], ids=repr)
def test_bfloat16_gradients_are_summed_in_float32(method):
    # In bfloat16 a sum of ones stops at 256.
    with jax.enable_x64(False):
        cell = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.bfloat16), make())
        xs = jnp.ones((512, INPUT))

        def loss(cell):
            return jnp.sum(seqmem.unroll(cell, None, xs, method=method)[1])

        d_cell = jax.grad(loss)(cell)
        assert d_cell.b.dtype == jnp.bfloat16
        np.testing.assert_array_equal(d_cell.b.astype(jnp.float32), np.full(HIDDEN, 512.0))
