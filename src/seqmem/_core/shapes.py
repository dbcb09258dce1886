"""The shape of one input: `()` for a token, `(3,)` for a vector, `(None,)` for any vector, or a
tree of shapes.
"""

from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from .errors import bad_input
from .timed import Observed, Timed


def is_shape(node: Any) -> bool:
    """Whether a node of `input_shape` is a shape, and not a tree of them."""
    return type(node) is tuple and all(size is None or isinstance(size, int) for size in node)


def vector_size(input_shape: PyTree) -> int | None:
    """n for the input shape (n,); None for any other."""
    return input_shape[0] if is_shape(input_shape) and len(input_shape) == 1 else None


def leaf_shapes(input_shape: PyTree, xs: PyTree) -> list[tuple[str, Any, tuple]]:
    """(path, leaf, shape of one input) for every leaf of `xs`; one shape may stand for a tree."""
    try:
        shapes = jax.tree.map(
            lambda shape, part: [shape] * len(jax.tree.leaves(part)),
            input_shape,
            xs,
            is_leaf=is_shape,
        )
    except (ValueError, TypeError) as error:
        raise bad_input(
            f"xs is a tree {tree_names(xs)}.",
            f"a tree that begins like the cell's input_shape, {input_shape}.",
            "pass the inputs in the structure that the cell declares.",
        ) from error
    flat = jax.tree.leaves(shapes, is_leaf=is_shape)
    paths = jax.tree.leaves_with_path(xs)
    return [
        (jax.tree_util.keystr(path), leaf, shape)
        for (path, leaf), shape in zip(paths, flat, strict=True)
    ]


def leading_axes(input_shape: PyTree, xs: PyTree) -> tuple[int, ...]:
    """(time, *batch): the axes of `xs` in front of one input, on which all leaves must agree."""
    leaves = leaf_shapes(input_shape, xs)
    if not leaves:
        raise bad_input(
            "xs holds no array.",
            "at least one array [time, *batch, ...].",
            "pass the inputs; a cell without input still needs an array to count time by.",
        )
    leading = {}
    for path, leaf, shape in leaves:
        axes = np.shape(leaf)
        if len(axes) < 1 + len(shape):
            raise bad_input(
                f"xs{path} has shape {axes}.",
                f"[time, *batch, ...] where one input has shape {shape}: at least "
                f"{1 + len(shape)} axes.",
                "add the missing axis; for one step use cell(state, x).",
            )
        leading[path] = axes[: len(axes) - len(shape)]
    if len(set(leading.values())) > 1:
        raise bad_input(
            f"the leaves of xs disagree on time and batch: {leading}.",
            "the same (time, *batch) in front of every leaf.",
            "check the cell's input_shape and the order of the axes.",
        )
    return next(iter(leading.values()))


def fits(axes: tuple[int, ...], shape: tuple) -> bool:
    """Whether the last axes of an array are one input of this shape."""
    last = axes[len(axes) - len(shape) :]
    return len(last) == len(shape) and all(
        size in (None, n) for size, n in zip(shape, last, strict=True)
    )


def zeros_like_input(input_shape: PyTree, dtype: Any) -> PyTree:
    """One input of zeros; tokens are integers, and a Δt is not.

    Raises:
        ValueError: where a size is not known.
    """

    def zeros(shape: Any, kind: Any = None) -> Any:
        if isinstance(shape, Timed):
            return Timed(zeros_like_input(shape.x, dtype), zeros(shape.delta_t, dtype))
        if isinstance(shape, Observed):
            return Observed(zeros(shape.x, dtype), zeros(shape.is_observed, bool))
        if None in shape:
            raise bad_input(
                f"an input_shape of {input_shape}.",
                "known sizes.",
                "pass an example of an input, or give the cell an input_shape with numbers.",
            )
        return np.zeros(shape, kind or (dtype if shape else np.int32))

    return jax.tree.map(
        zeros,
        input_shape,
        is_leaf=lambda node: is_shape(node) or isinstance(node, Timed | Observed),
    )


def tree_names(tree: PyTree) -> str:
    """A tree in a message: its paths and shapes, without JAX's words for containers."""
    leaves = jax.tree.leaves_with_path(tree)
    names = [f"{jax.tree_util.keystr(path) or 'array'} {np.shape(leaf)}" for path, leaf in leaves]
    return "{" + ", ".join(names) + "}"
