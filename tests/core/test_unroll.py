"""The contract of unroll beside the laws of cells: lengths of time, resets, transformations."""

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
from seqmem._testing.evaluate import Setting, evaluate, without_probes
from seqmem._testing.loop import Variation, looped
from tests.helpers.unrolling import (
    AUTODIFF,
    BATCH,
    HIDDEN,
    INPUT,
    METHODS,
    TIME,
    close,
    every_method,
    gradients,
    make,
    normal,
)

pytestmark = pytest.mark.usefixtures("float64")


# Lengths of time


def agree_with_the_loop(cell, setting, time):
    lengths, resets = np.array([time, time // 3]), normal(time, 2) > 0.8
    state = jax.tree.map(lambda leaf: normal(2, *leaf.shape), cell.init_state())
    xs = normal(time, 2, INPUT)
    shapes = jax.eval_shape(functools.partial(seqmem.unroll, cell), state, xs)
    cotangents = jax.tree.map(lambda leaf: normal(*leaf.shape), shapes)
    got = compiled(evaluate, 0)(setting, cell, state, xs, lengths, resets, None, cotangents)
    variation = Variation("", lengths, resets)
    want = looped(cell, state, xs, variation, cotangents, reverse=setting.reverse)
    close(without_probes(got), without_probes(want))


@every_method
@pytest.mark.parametrize(("chunk", "reverse"), [(None, True), (5, False)])
def test_time_is_a_prime_longer_than_any_block_or_chunk(method, chunk, reverse):
    agree_with_the_loop(make(seqmem.IndRNN), Setting(method, chunk, reverse), time=17)


@pytest.mark.parametrize("time", [1, 2, 4, 5, 6])
def test_time_may_be_less_and_more_than_a_chunk(time):
    agree_with_the_loop(make(seqmem.IndRNN), Setting(seqmem.Scan(), 5, time == 2), time)


@every_method
@pytest.mark.parametrize("chunk", [None, 1])
def test_no_time_gives_back_the_state_and_passes_gradients_through(method, chunk):
    cell, state, xs = make(), normal(BATCH, HIDDEN), np.zeros((0, BATCH, INPUT))
    final, ys = seqmem.unroll(cell, state, xs, method=method, remat_every=chunk)
    np.testing.assert_array_equal(final, state)
    assert ys.shape == (0, BATCH, HIDDEN)
    d_cell, d_state, d_xs = gradients(cell, state, xs, method=method, remat_every=chunk)
    close(d_state, np.cos(state))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(d_cell))
    assert d_xs.shape == xs.shape


# Lengths and resets


def test_traced_lengths_are_clamped():
    cell, xs = make(), normal(TIME, BATCH, INPUT)
    run = jax.jit(lambda lengths: seqmem.unroll(cell, cell.init_state(), xs, lengths=lengths))
    wild, tame = run(np.array([99, -3, 4])), run(np.array([TIME, 0, 4]))
    chex.assert_trees_all_equal(wild, tame)
    assert np.all(wild[1][0, 0] != 0)


def test_a_reset_between_two_steps_is_one_going_back_too():
    cell, xs = make(), normal(TIME, INPUT)
    state, cut = normal(HIDDEN), 3
    resets = np.arange(TIME) == cut
    _, forward = seqmem.unroll(cell, state, xs, resets=resets)
    close(forward[cut:], seqmem.unroll(cell, cell.init_state(), xs[cut:])[1])
    _, backward = seqmem.unroll(cell, state, xs, resets=resets, reverse=True)
    close(backward[:cut], seqmem.unroll(cell, cell.init_state(), xs[:cut], reverse=True)[1])
    close(backward[cut:], seqmem.unroll(cell, state, xs[cut:], reverse=True)[1])


# Transformations


class Counted(seqmem.AbstractCell):
    """A cell that counts how often it is traced."""

    W: Array
    traces: ClassVar[list] = []

    def __init__(self):
        self.W = jax.random.normal(jax.random.key(0), (HIDDEN, INPUT))

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
def test_an_eager_call_is_compiled_once(method):
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
    assert len(cell.traces) > once  # so that the count is one of compilations


@every_method
def test_a_scan_over_segments_is_the_whole(method):
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

    close(compute(segments), compute(functools.partial(seqmem.unroll, method=AUTODIFF)))


def test_a_checkpoint_around_changes_no_number():
    cell, state, xs = make(), normal(BATCH, HIDDEN), normal(TIME, BATCH, INPUT)

    def loss(cell, state, xs):
        _, ys = jax.checkpoint(seqmem.unroll)(cell, state, xs)
        return jnp.sum(jnp.sin(ys))

    def plain(cell, state, xs):
        return jnp.sum(jnp.sin(seqmem.unroll(cell, state, xs)[1]))

    close(jax.grad(loss, (0, 1, 2))(cell, state, xs), jax.grad(plain, (0, 1, 2))(cell, state, xs))


def test_vmap_may_take_any_axis():
    cell, xs = make(), normal(TIME, BATCH, INPUT)
    _, ys = seqmem.unroll(cell, cell.init_state(), xs)
    run = functools.partial(seqmem.unroll, cell, cell.init_state())
    _, mapped = jax.vmap(run, in_axes=1, out_axes=(0, 2))(xs)
    close(mapped, jnp.moveaxis(ys, 1, 2))


def test_a_donated_state_is_used_up_and_the_numbers_stay():
    cell, xs = make(seqmem.LSTM), normal(TIME, BATCH, INPUT)
    state, _ = seqmem.unroll(cell, cell.init_state(), xs)
    want, _ = seqmem.unroll(cell, state, xs)
    run = jax.jit(seqmem.unroll, donate_argnums=1)
    got, _ = run(cell, state, xs)
    close(got, want)
    assert state.h.is_deleted()
    assert state.c.is_deleted()
    run(cell, got, xs)


def test_parameters_may_be_made_of_traced_values():
    xs, state = normal(TIME, BATCH, INPUT), normal(BATCH, HIDDEN)

    def loss(scale, method):
        cell = jax.tree.map(lambda leaf: scale * leaf, make())
        return jnp.sum(jnp.sin(seqmem.unroll(cell, state, xs, method=method)[1]))

    got, want = (jax.jit(jax.grad(functools.partial(loss, method=m)))(0.7) for m in METHODS[::3])
    close(got, want)


def test_only_the_parameters_may_be_differentiated():
    cell, xs = make(), normal(TIME, BATCH, INPUT)

    def loss(cell, method):
        return seqmem.unroll(cell, cell.init_state(), xs, method=method)[1].sum()

    close(jax.grad(loss)(cell, seqmem.Scan()), jax.grad(loss)(cell, AUTODIFF))


def test_forward_mode_is_autodiffs():
    cell, xs = make(), normal(TIME, INPUT)

    def run(xs, method):
        return seqmem.unroll(cell, cell.init_state(), xs, method=method)[1]

    _, forward = jax.jvp(functools.partial(run, method=AUTODIFF), (xs,), (xs,))
    backward = jax.jacrev(functools.partial(run, method=seqmem.Scan()))(xs)
    close(forward, jnp.tensordot(backward, xs, 2))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(functools.partial(run, method=seqmem.Scan()), (xs,), (xs,))


def test_sixteen_bit_gradients_are_summed_in_thirty_two():
    # 2¹¹ equal terms: in bfloat16 a sum of ones stays at 256.
    with jax.enable_x64(False):
        cell = jax.tree.map(lambda leaf: jnp.zeros_like(leaf, jnp.bfloat16), make())
        xs = jnp.ones((2048, INPUT))

        def loss(cell, method):
            _, ys = seqmem.unroll(cell, jnp.zeros(HIDDEN), xs, method=method)
            return jnp.sum(ys)

        for method in (seqmem.Scan(), AUTODIFF):
            d = jax.grad(loss)(cell, method)
            assert d.b.dtype == jnp.bfloat16
            np.testing.assert_array_equal(d.b.astype(jnp.float32), np.full(HIDDEN, 2048.0))
