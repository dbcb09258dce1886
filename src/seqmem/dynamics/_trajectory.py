"""Where every step starts from: the states before each step of an unrolled cell."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from .._core.batching import vmap_axes
from .._core.cell import AbstractCell
from .._core.problem import State
from .._core.shapes import leading_axes
from .._core.step import select
from .._unroll import solve


def states_before(
    cell: AbstractCell,
    state: State,
    xs: PyTree,
    *,
    lengths: Int[Array, "*batch"] | None = None,
    resets: Bool[Array, "time *batch"] | None = None,
    reverse: bool = False,
    **options: Any,
) -> State:
    """s_{t−1} for every step t, [time, *batch, ...], resets and direction minded; options are
    those of `unroll`. At padded steps it is some finite state.
    """
    marks = {"lengths": lengths, "resets": resets, "reverse": reverse}
    states = solve(cell, state, xs, return_states=True, **marks, **options).states
    time, *batch = leading_axes(cell, xs)
    init = cell.init_state()
    first = jax.tree.map(
        lambda own, leaf: jnp.broadcast_to(leaf, (*batch, *own.shape))[None], init, state
    )
    begins = jnp.zeros((time, *batch), bool)  # steps that start from `state`
    begins = begins.at[-1 if reverse else 0].set(True)
    if lengths is not None and reverse:
        steps = jnp.arange(time).reshape(-1, *[1] * len(batch))
        begins = steps >= jnp.clip(lengths, 0, time) - 1
    back = -1 if reverse else 1
    before = jax.tree.map(lambda leaf: jnp.roll(leaf, back, 0), states)
    if resets is not None:
        cuts = jnp.roll(resets, -1, 0) if reverse else resets
        cuts = cuts & ~begins if reverse else cuts
        before = vmap_axes(lambda cut, s: select(cut, init, s), 1 + len(batch))(cuts, before)
        begins = begins if reverse else begins & ~resets
    whole = jax.tree.map(lambda a, b: jnp.broadcast_to(a, b.shape), first, before)
    return vmap_axes(select, 1 + len(batch))(begins, whole, before)
