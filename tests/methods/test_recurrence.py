"""All states of a linear recurrence at once are those of one step after another."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._methods.recurrence import (
    BLOCKS,
    dense_states,
    diagonal_states,
    in_chunks,
    linear_states,
)
from tests.helpers.slow import slow_but

SIZE = 3

pytestmark = pytest.mark.usefixtures("float64")


# Diagonal recurrences


def diagonal_loop(a, b, start, cut, reverse):
    def step(state, xs):
        a, b, cut = xs
        state = jnp.where(cut, b, a * state + b)
        return state, state

    return jax.lax.scan(step, start, (a, b, cut), reverse=reverse)[1]


def draw_recurrence(time, is_complex):
    rng = np.random.default_rng(time)

    def draw(*shape):
        real, imaginary = rng.normal(size=(2, *shape))
        return real + 1j * imaginary if is_complex else real

    return (draw(time, SIZE), draw(time, SIZE), draw(SIZE)), rng.normal(size=(time, SIZE)) > 1


CASES = list(itertools.product([1, 4, 23], [False, True], [False, True], [None, 4]))
QUICK = {(1, False, False, 4), (5, True, True, 4), (23, False, True, 4)}
OTHERS = {(time, time == 5, reverse, 4) for time in (1, 5, 23) for reverse in (False, True)}
OTHERS |= {(5, True, True, None), (23, False, True, 1)}
CASES += sorted(OTHERS - set(CASES), key=repr)


@pytest.mark.parametrize(("time", "is_complex", "reverse", "chunk_size"), slow_but(QUICK, CASES))
def test_diagonal_states_and_derivatives_match_a_loop(time, is_complex, reverse, chunk_size):
    args, cut = draw_recurrence(time, is_complex)

    def at_once(*args):
        return diagonal_states(*args, cut, reverse=reverse, schedule=in_chunks(chunk_size))

    def loop(*args):
        return diagonal_loop(*args, cut, reverse)

    def derivatives(solve):
        def loss(*args):
            return jnp.sum(jnp.sin(jnp.abs(solve(*args)) ** 2))

        def squared_gradient(*args):
            return sum(jnp.sum(jnp.abs(d) ** 2) for d in jax.grad(loss, (0, 1, 2))(*args))

        return jax.jit(
            lambda *args: (
                solve(*args),
                jax.grad(loss, (0, 1, 2))(*args),
                jax.jvp(solve, args, args)[1],
                jax.grad(squared_gradient)(*args),
            )
        )(*map(jnp.asarray, args))

    got, want = derivatives(at_once), derivatives(loop)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


every_place_of_a_cut = pytest.mark.parametrize(
    ("chunk_size", "step"), [(None, 4), (2, 4), (2, 5), (4, 5), (4, 6)]
)


@every_place_of_a_cut
def test_diagonal_recurrence_passes_nothing_through_a_cut(chunk_size, step):
    a = np.full((13, 2), np.nan)
    a[step:] = 0.5
    cut = np.zeros((13, 2), bool)
    cut[step] = True
    solve = jax.jit(functools.partial(diagonal_states, schedule=in_chunks(chunk_size)))
    states = solve(*map(jnp.asarray, (a, np.ones((13, 2)), np.ones(2), cut)))
    np.testing.assert_allclose(states[:, 0], [np.nan] * step + halvings(13 - step))


def halvings(count):
    """s_t = s_{t−1} / 2 + 1 from a state of 0."""
    return [2 - 0.5**t for t in range(count)]


# Recurrences of blocks


@pytest.mark.parametrize(("time", "reverse", "chunk_size"), [(1, False, 4), (23, True, 4)])
def test_states_of_blocks_and_derivatives_match_a_loop(time, reverse, chunk_size):
    rng = np.random.default_rng(time)
    A, b = rng.normal(size=(time, 2, 2, SIZE)) / 2, rng.normal(size=(time, 2, SIZE))
    start, cut = rng.normal(size=(2, SIZE)), rng.random((time, 1, 1)) < 0.2

    def at_once(A, b, start):
        schedule = in_chunks(chunk_size, BLOCKS)
        maps = A, b, jnp.asarray(cut)
        return linear_states(maps, start, reverse=reverse, schedule=schedule, structure=BLOCKS)

    def loop(A, b, start):
        def step(state, xs):
            A, b, cut = xs
            state = jnp.where(cut, b, jnp.einsum("ijn,jn->in", A, state) + b)
            return state, state

        return jax.lax.scan(step, start, (A, b, cut), reverse=reverse)[1]

    def derivatives(solve):
        def loss(*args):
            return jnp.sum(jnp.sin(solve(*args)))

        args = tuple(map(jnp.asarray, (A, b, start)))
        run = jax.jit(lambda *args: (solve(*args), jax.grad(loss, (0, 1, 2))(*args)))
        return run(*args)

    got, want = derivatives(at_once), derivatives(loop)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@every_place_of_a_cut
def test_recurrence_of_blocks_passes_nothing_through_a_cut(chunk_size, step):
    A = np.full((13, 2, 2, 1), np.nan)
    A[step:] = 0.5 * np.eye(2)[:, :, None]
    cut = np.zeros((13, 1, 1), bool)
    cut[step] = True
    schedule = in_chunks(chunk_size, BLOCKS)
    solve = jax.jit(functools.partial(linear_states, schedule=schedule, structure=BLOCKS))
    maps = tuple(map(jnp.asarray, (A, np.ones((13, 2, 1)), cut)))
    states = solve(maps, jnp.ones((2, 1)))
    np.testing.assert_allclose(states[:, 0, 0], [np.nan] * step + halvings(13 - step))


# Dense recurrences


def dense_loop(A, b, cut, reverse):
    states, state = np.zeros_like(b), np.zeros(SIZE)
    for t in reversed(range(len(b))) if reverse else range(len(b)):
        state = b[t] if cut[t] else A[t] @ state + b[t]
        states[t] = state
    return states


@pytest.mark.parametrize("chunk_size", [1, 4])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("time", [1, 3, 4, 5, 23])
def test_dense_states_match_a_loop(time, reverse, chunk_size):
    rng = np.random.default_rng(time)
    A, b = rng.normal(size=(time, SIZE, SIZE)), rng.normal(size=(time, SIZE))
    for cut in (rng.random(time) < 0.3, np.zeros(time, bool)):
        flags = jnp.asarray(cut) if cut.any() else None
        solve = functools.partial(dense_states, reverse=reverse, chunk_size=chunk_size)
        states = jax.jit(solve)(jnp.asarray(A), jnp.asarray(b), flags)
        np.testing.assert_allclose(states, dense_loop(A, b, cut, reverse), rtol=1e-11)


@pytest.mark.parametrize("chunk_size", [2, 4, 16])
def test_dense_recurrence_passes_nothing_through_a_cut(chunk_size):
    A = np.full((9, 2, 2), np.nan)
    A[5:] = 0.5 * np.eye(2)
    cut = np.zeros(9, bool)
    cut[4] = True
    solve = jax.jit(functools.partial(dense_states, chunk_size=chunk_size))
    states = solve(*map(jnp.asarray, (A, np.ones((9, 2)), cut)))
    np.testing.assert_allclose(states[4:, 0], [1, 1.5, 1.75, 1.875, 1.9375])


# What `Parallel` refuses


def test_parallel_refuses_a_gated_cell():
    cell = seqmem.GRU(2, 3, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"(?s)Parallel got .*GRU.*Newton\(\).*Scan\(\)"):
        seqmem.unroll(cell, None, jnp.ones((5, 2)), method=seqmem.Parallel())


class Counting(seqmem.AbstractDiagonalCell):
    """A diagonal cell with an integer state, which cannot move by s ↦ a ∘ s + b."""

    def init_state(self):
        return jnp.zeros(3, jnp.int32)

    def project(self, x):
        raise AssertionError("traced")

    def update(self, state, drive):
        return state + 1

    def readout(self, state, drive):
        return state


@pytest.mark.parametrize("method", [seqmem.Scan(), seqmem.Parallel()], ids=repr)
def test_diagonal_cell_with_an_integer_state_is_refused_before_tracing(method):
    with pytest.raises(ValueError, match=r"(?s)int32.*Expected: .*What to do: "):
        seqmem.unroll(Counting(), None, jnp.ones((5, 2)), method=method)


def test_parallel_refuses_a_chunk_size_of_zero():
    with pytest.raises(ValueError, match=r"(?s)chunk_size=0.*Expected: .*What to do: "):
        seqmem.Parallel(chunk_size=0)
