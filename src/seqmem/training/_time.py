"""A batch cut along time: trees of arrays with time first, and the lengths that go with them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from .._core.errors import bad_input

Lengths = Int[Array, "*batch"] | None


def of_time(batch: PyTree, lengths: Lengths, *, at_least: int) -> int:
    """The steps of time in a batch, on which all leaves must agree."""
    shapes = {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in _leaves(batch)}
    times = {shape[:1] for shape in shapes.values()}
    if len(times) != 1 or times == {()}:
        raise bad_input(
            f"the batch holds arrays of shapes {shapes}.",
            "arrays [time, *batch, ...], all of the same time.",
            "put time first everywhere; pass lengths beside the batch.",
        )
    ((time,),) = times
    if time < at_least:
        raise bad_input(
            f"a batch of {time} steps of time.",
            f"at least {at_least}.",
            "pass longer sequences, or choose fewer steps.",
        )
    if lengths is not None and not jnp.issubdtype(jnp.result_type(lengths), jnp.integer):
        raise bad_input(
            f"lengths is {jnp.result_type(lengths)}.",
            "integers, one for each sequence of the batch.",
            "count the valid steps of each sequence in this batch.",
        )
    return time


def _leaves(batch: PyTree) -> list[tuple[Any, Any]]:
    return jax.tree.leaves_with_path(batch)


def part(batch: PyTree, lengths: Lengths, start: int, end: int) -> tuple[PyTree, Lengths]:
    """The steps from start to end, and how many of them are valid."""
    cut = jax.tree.map(lambda leaf: leaf[start:end], batch)
    return cut, None if lengths is None else jnp.clip(lengths - start, 0, end - start)


def folded(batch: PyTree, lengths: Lengths, count: int, size: int) -> tuple[PyTree, Any]:
    """The first `count` parts of `size` steps, on a new first axis."""
    parts = jax.tree.map(
        lambda leaf: leaf[: count * size].reshape(count, size, *np.shape(leaf)[1:]), batch
    )
    if lengths is None:
        return parts, None
    return parts, jnp.stack([jnp.clip(lengths - i * size, 0, size) for i in range(count)])
