"""Segments of a batch along time: trees of arrays with time first, and their lengths."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from .._core.errors import bad_input

Lengths = Int[Array, "*batch"] | None


def num_steps(batch: PyTree, lengths: Lengths, *, at_least: int = 1) -> int:
    """The number of time steps in a batch.

    Raises:
        ValueError: where the arrays of the batch differ in it, where it is below `at_least`, or
            where the lengths are no integers.
    """
    shapes = {
        jax.tree_util.keystr(path): np.shape(leaf)
        for path, leaf in jax.tree.leaves_with_path(batch)
    }
    times = {shape[:1] for shape in shapes.values()}
    if len(times) != 1 or times == {()}:
        raise bad_input(
            f"the batch holds arrays of shapes {shapes}.",
            "arrays [time, *batch, ...], all of the same time.",
            "put time first in every array; pass lengths as a separate argument.",
        )
    ((time,),) = times
    if time < at_least:
        raise bad_input(
            f"a batch of {time} time steps.",
            f"at least {at_least}.",
            "pass longer sequences, or choose a smaller stride.",
        )
    if lengths is not None and not jnp.issubdtype(jnp.result_type(lengths), jnp.integer):
        raise bad_input(
            f"lengths has dtype {jnp.result_type(lengths)}.",
            "integers, one for each sequence of the batch.",
            "count the valid steps of each sequence in this batch.",
        )
    return time


def slice_time(batch: PyTree, lengths: Lengths, start: int, end: int) -> tuple[PyTree, Lengths]:
    """The batch from step `start` to step `end`, and its lengths."""
    segment = jax.tree.map(lambda leaf: leaf[start:end], batch)
    return segment, None if lengths is None else jnp.clip(lengths - start, 0, end - start)


def split_segments(
    batch: PyTree, lengths: Lengths, count: int, size: int
) -> tuple[PyTree, Int[Array, "segments *batch"] | None]:
    """The first `count` segments of `size` steps, on a new first axis, and their lengths."""
    segments = jax.tree.map(
        lambda leaf: leaf[: count * size].reshape(count, size, *np.shape(leaf)[1:]), batch
    )
    if lengths is None:
        return segments, None
    return segments, jnp.stack([jnp.clip(lengths - i * size, 0, size) for i in range(count)])
