"""Inputs at irregular times: an input and the time since the previous one, in one record."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .errors import bad_input
from .nodes import is_known, nodes


class Timed(NamedTuple):
    """An input, and the time that has passed since the previous one.

    This is the input of every cell in continuous time: such a cell has the `input_shape`
    `Timed((input_size,), ())`, or another shape or tree in place of the first. The unit of time is
    the caller's; time constants of cells are in the same unit. The first step of a sequence has the
    time since its initial state, which is 0 for a first input. A run in `reverse` goes from a step
    to the one before it, and needs the time between a step and the one after it: pass Δt one step
    earlier. `seqmem.layers.Bidirectional` does so for its backward layer.

    `unroll` and `solve` refuse a Δt below 0 or NaN at a valid step, where its value and those of
    `lengths` and `mask` are known. Under `jax.jit` they are not, and nothing is checked. A single
    step, `cell(state, Timed(x, delta_t))`, checks shapes alone.

    Attributes:
        x: the input.
        delta_t: Δt >= 0, a floating point number per step, [time, *batch].

    Example:
        >>> import jax.numpy as jnp, jax, seqmem
        >>> cell = seqmem.CfC(3, 5, key=jax.random.key(0))
        >>> cell.input_shape
        Timed(x=(3,), delta_t=())
        >>> xs = seqmem.Timed(jnp.ones((7, 2, 3)), jnp.full((7, 2), 0.5))   # time, batch
        >>> seqmem.unroll(cell, None, xs)[1].shape
        (7, 2, 5)
    """

    x: PyTree
    delta_t: Any  # or its shape, in an input_shape


class Observed(NamedTuple):
    """A vector of which some entries were not observed.

    Attributes:
        x: the vector, [time, *batch, input]; an entry that was not observed is never read.
        is_observed: for each entry, whether it was observed, a boolean.
    """

    x: Any
    is_observed: Any


def is_timed(node: Any) -> bool:
    """Whether a node of a tree of inputs carries a Δt."""
    return isinstance(node, Timed)


def with_delta_t_of(xs: PyTree, ys: PyTree, input_shape: PyTree) -> PyTree:
    """`ys` as the inputs of a layer: with the Δt of `xs` where it takes one and `ys` has none."""
    has_delta_t = is_timed(input_shape) and is_timed(xs) and not is_timed(ys)
    return Timed(ys, xs.delta_t) if has_delta_t else ys


def map_delta_t(fn: Any, xs: PyTree) -> PyTree:
    """`xs` with `fn` applied to every Δt in it."""
    return jax.tree.map(
        lambda node: node._replace(delta_t=fn(node.delta_t)) if is_timed(node) else node,
        xs,
        is_leaf=is_timed,
    )


def check_timed(xs: PyTree, lengths: Any = None, mask: Any = None) -> None:
    """Refuse a Δt that is no floating point number, or, at a valid step, below 0 or NaN, and an
    `is_observed` that is no boolean.

    Values that are traced, or on devices of other processes, are not known.
    """
    for node in nodes(xs, Observed):
        if node.is_observed.dtype != jnp.bool_:
            raise bad_input(
                f"is_observed is {node.is_observed.dtype}.",
                "booleans, one for each entry of the input.",
                "write is_observed.astype(bool), or ~jax.numpy.isnan(x).",
            )
    for node in nodes(xs, Timed):
        if not jnp.issubdtype(node.delta_t.dtype, jnp.floating):
            raise bad_input(
                f"delta_t is {node.delta_t.dtype}.",
                "floating point numbers, one for each step.",
                "cast delta_t with astype(float).",
            )
        if all(map(is_known, (node.delta_t, lengths, mask))):
            _check_values(np.asarray(node.delta_t), lengths, mask)


def _check_values(delta_t: np.ndarray, lengths: Any, mask: Any) -> None:
    is_bad = ~(delta_t >= 0)
    if lengths is not None:
        steps = np.arange(len(delta_t)).reshape(-1, *[1] * (delta_t.ndim - 1))
        is_bad &= steps < np.asarray(lengths)
    if mask is not None:
        is_bad &= np.asarray(mask)
    if is_bad.any():
        place = tuple(int(axis[0]) for axis in np.nonzero(is_bad))
        raise bad_input(
            f"delta_t is {delta_t[place]} at [time, *batch] = {list(place)}.",
            "the time since the previous input, at least 0.",
            "sort the inputs by their times and take numpy.diff of the times; pass lengths or mask "
            "where steps are padding.",
        )
