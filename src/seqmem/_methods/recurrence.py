"""All states of s_t = a_t ∘ s_{t−1} + b_t at once.

The recurrence is the solution of one linear system, s − a ∘ shift(s) = b. JAX is told so
(`lax.custom_linear_solve`), so every mode of differentiation is there, keeps the states and nothing
else over time, and runs the transposed system by the same schedule.

A cut is a flag: a step before which nothing passes selects, and never multiplies by 0, since
0 · NaN is NaN.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from .._core.cell import select

Flags = Bool[Array, "time ..."] | None


def affine_states(
    a: Inexact[Array, "time ..."],
    b: Inexact[Array, "time ..."],
    start: Inexact[Array, "..."],
    cut: Flags = None,
    *,
    reverse: bool = False,
    block: int | None = None,
) -> Inexact[Array, "time ..."]:
    """s_t = a_t ∘ s_{t−1} + b_t for all t, and s_t = b_t where the step is cut off.

    Args:
        a: factors, of the shape of `b`; finite at the first step that is run.
        b: what is added.
        start: the state before the first step that is run.
        cut: where nothing passes from the step before, in the shape of `b`.
        reverse: from the last step to the first: s_t = a_t ∘ s_{t+1} + b_t.
        block: None is one step after another; else blocks of so many steps run side by side, and
            log₂(time / block) levels join them.
    """
    if not len(b):
        return b
    first = -1 if reverse else 0
    begins = None if cut is None else cut[first]
    b = b.at[first].add(a[first] * cleared(begins, start))

    def matvec(states: Array) -> Array:
        before = jnp.roll(states, -1 if reverse else 1, 0).at[first].set(0)
        return states - a * cleared(cut, before)

    def solve(_, b: Array) -> Array:
        return _solve((a, b, cut), reverse, block)

    def transposed(_, b: Array) -> Array:  # λ_t = y_t + a_{t+1} ∘ λ_{t+1}
        def onward(leaf: Array) -> Array:
            nothing = jnp.zeros_like(leaf[:1])
            return jnp.concatenate([nothing, leaf[:-1]] if reverse else [leaf[1:], nothing])

        cuts = None if cut is None else onward(cut)
        return _solve((onward(a), b, cuts), not reverse, block)

    return jax.lax.custom_linear_solve(matvec, b, solve, transposed)


Map = tuple[Array, Array, Array | None]  # (a, b, cut): s ↦ b where cut, else a ∘ s + b


def cleared(cut: Array | None, state: Array) -> Array:
    """0 where nothing passes: selected before the product, so that no gradient is 0 · NaN."""
    return select(cut, jnp.zeros_like(state), state)


def compose(first: Map, second: Map) -> Map:
    """`second` after `first`."""
    (a, b, cut), (a_then, b_then, cut_then) = first, second
    joined = cut if cut_then is None else cut | cut_then  # pyright: ignore
    return a_then * a, select(cut_then, b_then, a_then * b + b_then), joined


def apply(map: Map, state: Array) -> Array:
    """The state behind a stretch of time, from the one before it."""
    a, b, cut = map
    return a * cleared(cut, state) + b


def _solve(maps: Map, reverse: bool, block: int | None) -> Array:
    b = maps[1]
    if block is None or block >= len(b):
        return _states(jnp.zeros_like(b[0]), maps, reverse)
    return _side_by_side(maps, reverse, block)


def _states(start: Array, maps: Map, reverse: bool) -> Array:
    def step(state: Array, here: Map) -> tuple[Array, Array]:
        state = apply(here, state)
        return state, state

    return jax.lax.scan(step, start, maps, reverse=reverse)[1]


def _side_by_side(maps: Map, reverse: bool, block: int) -> Array:
    """Blocks next to each other: their maps, the states between them, then the states within."""
    time, *rest = maps[1].shape
    count = -(-time // block)
    short = count * block - time

    def blocks(leaf: Array) -> Array:  # [step, block, ...]; what is missing is run last
        padding = [(short, 0) if reverse else (0, short)] + [(0, 0)] * len(rest)
        return jnp.pad(leaf, padding).reshape(count, block, *rest).swapaxes(0, 1)

    here = jax.tree.map(blocks, maps)
    first = jax.tree.map(lambda leaf: leaf[-1 if reverse else 0], here)
    others = jax.tree.map(lambda leaf: leaf[:-1] if reverse else leaf[1:], here)
    whole, _ = jax.lax.scan(
        lambda so_far, step: (compose(so_far, step), None), first, others, reverse=reverse
    )
    between = jax.lax.associative_scan(compose, whole, reverse=reverse)[1]
    edge = jnp.zeros_like(between[:1])
    starts = [between[1:], edge] if reverse else [edge, between[:-1]]
    states = _states(jnp.concatenate(starts), here, reverse)
    states = states.swapaxes(0, 1).reshape(count * block, *rest)
    return states[short:] if reverse else states[:time]
