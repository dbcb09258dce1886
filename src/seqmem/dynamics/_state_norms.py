"""How large the state is over time, and how far it moves."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import leading_axes
from .._core.trees import tree_norm
from .._unroll import solve


def state_norms(
    cell: AbstractCell, state: State | None, xs: PyTree, **options
) -> PyTree[Float[Array, "time *batch"]]:
    """‖s_t‖ for every leaf of the state, in its tree; 0 at padded steps.

    Args:
        cell: the cell.
        state: the state before the first step; None is `cell.init_state()`.
        xs: the inputs, [time, *batch, ...].
        options: those of `seqmem.solve`.
    """
    states = solve(cell, state, xs, return_states=True, **options).states
    leading = len(leading_axes(cell.input_shape, xs))
    return jax.tree.map(lambda leaf: tree_norm(leaf, leading), states)


def drift(
    cell: AbstractCell, state: State | None, xs: PyTree, window: int, **options
) -> Float[Array, "windows *batch"]:
    """How far a carried state moves from window to window, ‖s_{kw} − s_{(k−1)w}‖ / ‖s_{kw}‖.

    A drift that falls to a constant level says that the initial state is forgotten. A drift that
    keeps growing says that the state never settles.

    Args:
        cell: the cell.
        state: the state before the first step; None is `cell.init_state()`.
        xs: the inputs, [time, *batch, ...].
        window: w, in steps, from 1 to half of the time.
        options: those of `seqmem.solve`. A window that ends in the padding has no meaningful drift.

    Raises:
        ValueError: for a window below 1 or above half of the time.
    """
    time, *batch = leading_axes(cell.input_shape, xs)
    if not 1 <= window <= time // 2:
        raise bad_input(
            f"drift got window={window}.",
            f"1 to {time // 2} steps: half of the time in xs, {time}.",
            "choose a shorter window, or pass longer inputs.",
        )
    states = solve(cell, state, xs, return_states=True, **options).states
    samples = jax.tree.map(lambda leaf: leaf[window - 1 :: window], states)
    later = jax.tree.map(lambda leaf: leaf[1:], samples)
    moves = jax.tree.map(lambda leaf: jnp.diff(leaf, axis=0), samples)
    leading = 1 + len(batch)
    return tree_norm(moves, leading) / tree_norm(later, leading)
