"""Multiple shooting: segments of time that start from states of their own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import leading_axes, tree_names
from .._core.trees import tree_norm
from .._unroll import unroll


class Shooting(NamedTuple):
    """The result of `multiple_shooting`.

    Attributes:
        outputs: those of all segments, one after another, [time, *batch, ...].
        gaps: the end of a segment less the start of the next one, for each leaf of the state,
            [segments − 1, *batch, ...].
        penalty: the mean of ‖gap‖² over gaps and examples; 0 for one segment.
    """

    outputs: PyTree[Array]
    gaps: PyTree[Array]
    penalty: Float[Array, ""]


def multiple_shooting(cell: AbstractCell, starts: State, xs: PyTree, **options: Any) -> Shooting:
    """Runs a cell over segments of time, each from a state of its own, which is a parameter.

        loss(outputs) + μ Σ_k ‖s_end(k) − start(k+1)‖²

    The segments run side by side, so that no gradient goes further than one of them, and the
    penalty makes them one trajectory in the end. Learn `starts` with the cell, with a weight μ that
    grows; begin with states that the data say, such as those of a run with teacher forcing.

    Source: Bock & Plitt 1984; for chaotic systems Voss, Timmer & Kurths 2004, International Journal
    of Bifurcation and Chaos 14; with a penalty Turan & Jäschke 2022, arXiv:2109.06786, abstract
    read.

    Args:
        cell: the cell.
        starts: the state at the start of each segment, [segments, *batch, ...] for each leaf.
        xs: the inputs, [time, *batch, ...]; the segments have equal lengths.
        options: those of `seqmem.unroll` that are no arrays over time or batch, such as `method`.

    Raises:
        ValueError: for starts that are no states of one number of segments, or a time that it does
            not divide.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell, xs = seqmem.GRU(3, 5, key=jax.random.key(0)), jnp.ones((12, 2, 3))
        >>> shots = seqmem.training.multiple_shooting(cell, jnp.zeros((4, 2, 5)), xs)
        >>> shots.outputs.shape, shots.gaps.shape
        ((12, 2, 5), (3, 2, 5))
    """
    time, *batch = leading_axes(cell.input_shape, xs)
    init = jax.eval_shape(cell.init_state)
    segments = jnp.shape(jax.tree.leaves(starts)[0])[:1]
    expected = jax.tree.map(lambda leaf: (*segments, *batch, *leaf.shape), init)
    if not segments or jax.tree.map(jnp.shape, starts) != expected:
        raise bad_input(
            f"multiple_shooting got starts {tree_names(starts)}.",
            f"the tree of cell.init_state(), each leaf [segments, {batch or '*batch'}, ...].",
            "stack a state for each segment, such as cell.init_state(segments, *batch).",
        )
    (count,) = segments
    if not count or time % count:
        raise bad_input(
            f"multiple_shooting got {count} starts for {time} steps.",
            "a number of segments that divides the steps.",
            "cut the inputs, or choose another number of segments.",
        )

    def side_by_side(x: Array) -> Array:
        return jnp.moveaxis(jnp.reshape(x, (count, time // count, *jnp.shape(x)[1:])), 0, 1)

    def in_order(y: Array) -> Array:
        return jnp.moveaxis(y, 1, 0).reshape(time, *y.shape[2:])

    ends, ys = unroll(cell, starts, jax.tree.map(side_by_side, xs), **options)
    gaps = jax.tree.map(lambda end, start: end[:-1] - start[1:], ends, starts)
    penalty = jnp.zeros(()) if count == 1 else (tree_norm(gaps, 1 + len(batch)) ** 2).mean()
    return Shooting(jax.tree.map(in_order, ys), gaps, penalty)
