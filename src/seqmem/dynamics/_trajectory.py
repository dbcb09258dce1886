"""The states along a run of a cell: the one before each step, and which steps are valid."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from .._core.batching import vmap_axes
from .._core.cell import AbstractCell, AbstractLayer
from .._core.problem import State
from .._core.shapes import leading_axes
from .._core.step import select
from .._unroll import solve


def initial_states(cell: AbstractLayer, state: State | None, batch: tuple[int, ...]) -> State:
    """The state before the first step of each example, [*batch, ...]; None is `init_state()`."""
    init = cell.init_state()
    state = init if state is None else state
    return jax.tree.map(lambda one, leaf: jnp.broadcast_to(leaf, (*batch, *one.shape)), init, state)


def valid_steps(
    leading: tuple[int, ...],
    lengths: Int[Array, "*batch"] | list[int] | None = None,
    mask: Bool[Array, "time *batch"] | None = None,
    **options: Any,
) -> Bool[Array, "time *batch"]:
    """Which steps are not padding, from the options of a run; `leading` is (time, *batch)."""
    valid = jnp.ones(leading, bool) if mask is None else jnp.asarray(mask)
    if lengths is None:
        return valid
    steps = jnp.arange(leading[0]).reshape(-1, *[1] * (len(leading) - 1))
    return valid & (steps < np.asarray(lengths) if isinstance(lengths, list) else steps < lengths)


def states_before(cell: AbstractCell, state: State | None, xs: PyTree, **options: Any) -> State:
    """The state that each step of a run starts from, [time, *batch, ...].

    It is the state after the last valid step that was run before, or the initial state, or
    `cell.init_state()` where the step follows a reset. At padded steps it is some finite state.

    Args:
        cell: the cell.
        state: the state before the first step that is run; None is `cell.init_state()`.
        xs: the inputs, [time, *batch, ...].
        options: those of `seqmem.solve`, such as `lengths`, `resets` and `reverse`.
    """
    states = solve(cell, state, xs, return_states=True, **options).states
    time, *batch = leading_axes(cell.input_shape, xs)
    reverse, resets = options.get("reverse", False), options.get("resets")
    previous = _previous_valid_step(valid_steps((time, *batch), **options), reverse)
    is_first = previous < 0
    index = jnp.maximum(previous, 0)
    before = vmap_axes(select, 1 + len(batch))(
        is_first,
        jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (time, *leaf.shape)),
            initial_states(cell, state, tuple(batch)),
        ),
        jax.tree.map(lambda leaf: _take_steps(leaf, index), states),
    )
    if resets is None:
        return before
    # Forward, the reset of a step is its own; going back, that of the step that was run before it.
    follows_reset = _take_steps(jnp.asarray(resets), index) & ~is_first if reverse else resets
    init = cell.init_state()
    return vmap_axes(lambda flag, s: select(flag, init, s), 1 + len(batch))(
        jnp.asarray(follows_reset), before
    )


def _previous_valid_step(
    valid: Bool[Array, "time *batch"], reverse: bool
) -> Int[Array, "time *batch"]:
    """The index of the last valid step that is run before each step; −1 if no step does."""
    time = len(valid)
    valid = valid[::-1] if reverse else valid
    order = jnp.arange(time).reshape(-1, *[1] * (valid.ndim - 1))
    latest = jax.lax.cummax(jnp.where(valid, order, -1))
    previous = jnp.concatenate([jnp.full_like(latest[:1], -1), latest[:-1]])
    if not reverse:
        return previous
    return jnp.where(previous < 0, -1, time - 1 - previous)[::-1]


def _take_steps(leaf: Array, index: Int[Array, "time *batch"]) -> Array:
    """`leaf[index[t]]` for every step and example."""
    return jnp.take_along_axis(
        leaf, index.reshape(index.shape + (1,) * (leaf.ndim - index.ndim)), 0
    )
