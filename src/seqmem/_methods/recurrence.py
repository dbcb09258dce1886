"""All states of a linear recurrence at once, by chunks side by side.

    s_t = A_t s_{t−1} + b_t

A map is a tuple (A, b, cut), with A a diagonal, small blocks or a matrix. `cut` is a flag: at such
a step nothing of s_{t−1} passes and s_t = b_t. It selects and never multiplies by 0, since 0 · NaN
is NaN.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, PyTree

from .._core.batching import vmap_batch
from .._core.problem import Problem
from .._core.step import select

Flags = Bool[Array, "time ..."] | None
AffineMap = tuple[Array, Array, Array | None]
# (maps, reverse) -> the states after each map, from a state of 0
Schedule = Callable[[AffineMap, bool], Array]


class Structure(NamedTuple):
    """What the matrices A of a recurrence are, and how they are multiplied.

    Attributes:
        times: (A, s) -> A s.
        after: (A, B) -> A B.
        transpose: A -> Aᵀ.
    """

    times: Callable[[Array, Array], Array]
    after: Callable[[Array, Array], Array]
    transpose: Callable[[Array], Array]


def _times_blocks(A: Array, s: Array) -> Array:
    return (A * s[..., None, :, :]).sum(-2)


def _after_blocks(A: Array, B: Array) -> Array:
    return (A[..., :, :, None, :] * B[..., None, :, :, :]).sum(-3)


# A diagonal, in the shape of the state.
DIAGONAL = Structure(jnp.multiply, jnp.multiply, lambda a: a)
# n blocks of k × k side by side: A is [..., k, k, n], and a state [..., k, n].
BLOCKS = Structure(_times_blocks, _after_blocks, lambda A: A.swapaxes(-3, -2))


def in_chunks(chunk_size: int | None, structure: Structure = DIAGONAL) -> Schedule:
    """The schedule of maps in chunks.

    Args:
        chunk_size: None is one step after another; else chunks of so many steps run side by side,
            and log₂(time / chunk_size) levels join them.
        structure: of the maps.
    """
    ways = (functools.partial(way, structure=structure) for way in (compose, apply))
    return functools.partial(_states_of, *ways, chunk_size)


def diagonal_states(
    a: Inexact[Array, "time ..."],
    b: Inexact[Array, "time ..."],
    start: Inexact[Array, "..."],
    cut: Flags = None,
    *,
    reverse: bool = False,
    schedule: Schedule,
) -> Inexact[Array, "time ..."]:
    """`linear_states` of factors a of the shape of b, and flags of that shape."""
    return linear_states((a, b, cut), start, reverse=reverse, schedule=schedule)


def linear_states(
    maps: AffineMap,
    start: Inexact[Array, "..."],
    *,
    reverse: bool = False,
    schedule: Schedule,
    structure: Structure = DIAGONAL,
) -> Inexact[Array, "time ..."]:
    """s_t = A_t s_{t−1} + b_t for all t, and s_t = b_t where the step is cut off.

    The recurrence is one linear system, s − A shift(s) = b, and JAX knows it as one
    (`lax.custom_linear_solve`): every mode of differentiation works, keeps the states and nothing
    else over time, and solves the transposed system by the same schedule.

    Args:
        maps: (A, b, cut): factors, finite at the first step that is run; what is added; where
            nothing passes from the step before, in a shape that broadcasts to that of b.
        start: the state before the first step that is run.
        reverse: from the last step to the first: s_t = A_t s_{t+1} + b_t.
        schedule: how the system and the transposed one are solved: `in_chunks`, or a kernel.
        structure: of the factors.
    """
    a, b, cut = maps
    if not len(b):
        return b
    first = -1 if reverse else 0
    cut_first = None if cut is None else cut[first]
    b = b.at[first].add(structure.times(a[first], cleared(cut_first, start)))

    def matvec(states: Array) -> Array:
        before = jnp.roll(states, -1 if reverse else 1, 0).at[first].set(0)
        return states - structure.times(a, cleared(cut, before))

    def solve(_, b: Array) -> Array:
        return schedule((a, b, cut), reverse)

    def transposed(_, b: Array) -> Array:  # λ_t = y_t + A_{t+1}ᵀ λ_{t+1}
        def next_step(leaf: Array) -> Array:
            nothing = jnp.zeros_like(leaf[:1])
            return jnp.concatenate([nothing, leaf[:-1]] if reverse else [leaf[1:], nothing])

        next_cut = None if cut is None else next_step(cut)
        return schedule((next_step(structure.transpose(a)), b, next_cut), not reverse)

    return jax.lax.custom_linear_solve(matvec, b, solve, transposed)


def transition_of(problem: Problem, step_transition: Callable, compose: Callable) -> PyTree:
    """The transition of all steps of a problem, composed one after another.

    Args:
        problem: with at least one step.
        step_transition: (init, cell, x, flags) -> the transition of one step of one example.
        compose: (first, then) -> then after first.
    """
    of_step = vmap_batch(
        functools.partial(step_transition, problem.init), problem.cell, problem.batch_axes
    )
    first = -1 if problem.reverse else 0
    others = slice(None, -1) if problem.reverse else slice(1, None)
    first_step = jax.tree.map(lambda leaf: leaf[first], problem.steps)
    other_steps = jax.tree.map(lambda leaf: leaf[others], problem.steps)
    return jax.lax.scan(
        lambda transition, step: (compose(transition, of_step(*step)), None),
        of_step(*first_step),
        other_steps,
        reverse=problem.reverse,
    )[0]


def dense_states(
    A: Float[Array, "time n n"],
    b: Float[Array, "time n"],
    cut: Bool[Array, " time"] | None = None,
    *,
    reverse: bool = False,
    chunk_size: int = 16,
) -> Float[Array, "time n"]:
    """s_t = A_t s_{t−1} + b_t for all t from a state of 0, and s_t = b_t where the step is cut off.

    It is not meant to be differentiated.

    Args:
        A: the matrices.
        b: what is added.
        cut: where nothing passes from the step before.
        reverse: from the last step to the first: s_t = A_t s_{t+1} + b_t.
        chunk_size: steps that are run one after another; log₂(time / chunk_size) levels join them.
    """
    flags = None if cut is None else cut[:, None]
    return _states_of(compose_dense, apply_dense, chunk_size, (A, b, flags), reverse)


def cleared(cut: Array | None, leaf: Array) -> Array:
    """0 where nothing passes: selected before the product, so that no gradient is 0 · NaN.

    The flags have the axes of a state; a matrix has more.
    """
    if cut is not None and cut.ndim < leaf.ndim:
        cut = jnp.expand_dims(cut, range(cut.ndim, leaf.ndim))
    return select(cut, jnp.zeros_like(leaf), leaf)


def compose(first: AffineMap, then: AffineMap, structure: Structure = DIAGONAL) -> AffineMap:
    """The map `then` after `first`. What a cut hides may be infinite or NaN."""
    (a, b, cut), (a_then, b_then, cut_then) = first, then
    joined = cut if cut_then is None else cut | cut_then  # pyright: ignore
    moved = structure.times(a_then, cleared(cut_then, b)) + b_then
    return structure.after(a_then, cleared(cut_then, a)), moved, joined


def apply(map: AffineMap, state: Array, structure: Structure = DIAGONAL) -> Array:
    """The state after a map."""
    a, b, cut = map
    return structure.times(a, cleared(cut, state)) + b


def compose_dense(first: AffineMap, then: AffineMap) -> AffineMap:
    """The dense map `then` after `first`, for maps side by side."""
    (A, b, cut), (A_then, _, cut_then) = first, then
    joined = cut if cut_then is None else cut | cut_then  # pyright: ignore
    return A_then @ A, apply_dense(then, b), joined


def apply_dense(map: AffineMap, states: Array) -> Array:
    """The states after dense maps side by side."""
    A, b, cut = map
    return select(cut, b, (A @ states[..., None])[..., 0] + b)


def _states_of(
    compose: Callable, apply: Callable, chunk_size: int | None, maps: AffineMap, reverse: bool
) -> Array:
    """The states after each map, from a state of 0."""
    b = maps[1]
    if chunk_size is None or chunk_size >= len(b):
        return _one_by_one(jnp.zeros_like(b[0]), maps, apply, reverse)
    time, *rest = b.shape
    count = -(-time // chunk_size)
    missing = count * chunk_size - time

    def to_chunks(leaf: Array) -> Array:  # [step, chunk, ...]; the padding is run last
        padding = [(missing, 0) if reverse else (0, missing)] + [(0, 0)] * (leaf.ndim - 1)
        leaf = jnp.pad(leaf, padding)
        return leaf.reshape(count, chunk_size, *leaf.shape[1:]).swapaxes(0, 1)

    chunks = jax.tree.map(to_chunks, maps)
    first = jax.tree.map(lambda leaf: leaf[-1 if reverse else 0], chunks)
    others = jax.tree.map(lambda leaf: leaf[:-1] if reverse else leaf[1:], chunks)
    whole, _ = jax.lax.scan(
        lambda so_far, map: (compose(so_far, map), None), first, others, reverse=reverse
    )
    ends = jax.lax.associative_scan(compose, whole, reverse=reverse)[1]
    zeros = jnp.zeros_like(ends[:1])
    starts = jnp.concatenate([ends[1:], zeros] if reverse else [zeros, ends[:-1]])
    states = _one_by_one(starts, chunks, apply, reverse)
    states = states.swapaxes(0, 1).reshape(count * chunk_size, *rest)
    return states[missing:] if reverse else states[:time]


def _one_by_one(start: Array, maps: AffineMap, apply: Callable, reverse: bool) -> Array:
    def step(state: Array, map: AffineMap) -> tuple[Array, Array]:
        state = apply(map, state)
        return state, state

    return jax.lax.scan(step, start, maps, reverse=reverse)[1]
