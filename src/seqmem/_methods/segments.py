"""Time in segments: a loop over pieces of a sequence that keeps one compiled body."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._core.problem import State


def segment_size(time: int, target: int) -> int:
    """A segment length near `target` that divides `time`, where there is one between half of it
    and twice it.

    A remainder works, but is compiled as a second body and copies what the segments return.
    """
    if time <= target:
        return max(time, 1)
    divisors = [n for n in range((target + 1) // 2, 2 * target + 1) if time % n == 0]
    return min(divisors, key=lambda n: abs(n - target), default=target)


def segment_starts(first: State, states: State, size: int, *, reverse: bool) -> State:
    """The state that each segment starts from, [segments, ...]: `first` for the one run first.

    `states` are those after each step.
    """

    def pick(first, states):
        if reverse:
            return jnp.concatenate([states[size::size], first[None]])
        return jnp.concatenate([first[None], states[size - 1 : len(states) - 1 : size]])

    return jax.tree.map(pick, first, states)


def previous_states(first: State, states: State, *, reverse: bool) -> State:
    """The state before each step, from the first one and the states after each step."""

    def shift(first, states):
        if reverse:
            return jnp.concatenate([states[1:], first[None]])
        return jnp.concatenate([first[None], states[:-1]])

    return jax.tree.map(shift, first, states)


def last_state(states: State, *, reverse: bool) -> State:
    """The state after the step that is run last."""
    return jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states)


def scan_segments(
    body: Callable[[PyTree, tuple[PyTree, PyTree]], tuple[PyTree, PyTree]],
    carry: PyTree,
    xs: PyTree,
    size: int,
    *,
    per_segment: PyTree = None,
    reverse: bool = False,
) -> tuple[PyTree, PyTree]:
    """`lax.scan` of a body that takes `size` steps at a time; the last segment may be shorter.

    Args:
        body: (carry, (xs of a segment, its entry of per_segment)) -> (carry, ys of the segment),
            xs and ys time first. It runs the steps of a segment in whatever order it needs.
        carry: what is handed from segment to segment.
        xs: arrays with time as their first axis, at least one step.
        size: steps per segment, > 0.
        per_segment: arrays with one entry for each segment as their first axis.
        reverse: whether the last segment is run first.
    """
    time = jax.tree.leaves(xs)[0].shape[0]
    count, rest = divmod(time, size)
    main = time - rest
    full = jax.tree.map(lambda leaf: leaf[:main], xs) if rest else xs
    tail = (
        jax.tree.map(lambda leaf: leaf[main:], xs),
        jax.tree.map(lambda leaf: leaf[-1], per_segment),
    )
    if not count:
        return body(carry, tail)
    ys_tail = None
    if rest and reverse:
        carry, ys_tail = body(carry, tail)
    if count == 1:
        carry, ys = body(carry, (full, jax.tree.map(lambda leaf: leaf[0], per_segment)))
    else:
        folded = jax.tree.map(lambda leaf: leaf.reshape(count, size, *leaf.shape[1:]), full)
        entries = jax.tree.map(lambda leaf: leaf[:count], per_segment)
        carry, ys = jax.lax.scan(body, carry, (folded, entries), reverse=reverse)
        ys = jax.tree.map(lambda leaf: leaf.reshape(main, *leaf.shape[2:]), ys)
    if not rest:
        return carry, ys
    if not reverse:
        carry, ys_tail = body(carry, tail)
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts), ys, ys_tail)
