"""The writes of many steps, arranged for matrix products: steps after heads, one write per row."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree, Shaped

from ...._core.batching import vmap_batch
from ...._core.cell import AbstractCell, project
from ...._core.problem import Problem
from ..write import Write, check_write, map_writes
from .nonfinite import mask_writes, strip_nonfinite


class Steps(NamedTuple):
    """The writes and flags of every step, time first."""

    write: Write
    reset: Bool[Array, "step *batch"] | None
    padding: Bool[Array, "step *batch"] | None


def project_writes(problem: Problem) -> tuple[Steps, PyTree]:
    """The writes of all steps, and what else `output` needs of each input."""

    def project_and_check(cell: AbstractCell, x: PyTree) -> tuple[Write, PyTree]:
        drive = project(cell, x, problem.init)
        check_write(cell, problem.init, drive[0])
        return drive

    axes = problem.batch_axes
    write, extra = vmap_batch(project_and_check, problem.cell, axes, time=True)(problem.inputs)
    return Steps(write, problem.flags.reset, problem.flags.padding), extra


class ChunkWrites(NamedTuple):
    """The writes of a chunk, [*batch, *heads, write, channel], in the order they are run in. The
    queries are [*batch, *heads, step, channel].
    """

    write: Write  # finite but for decays and gains of −inf
    is_reset: Bool[Array, "*lead write 1"] | None
    bad_write: Bool[Array, "*lead write 1"]  # the write was not finite
    bad_query: Bool[Array, "*lead step 1"]  # the query was not finite

    def after_step(self, rows: Shaped[Array, "*lead write channel"]) -> Array:
        """The rows of the last write of each step."""
        writes_per_step = self.bad_write.shape[-2] // self.bad_query.shape[-2]
        return rows[..., writes_per_step - 1 :: writes_per_step, :]


def to_chunk_layout(steps: Steps, *, reverse: bool) -> ChunkWrites:
    """The writes of a chunk, given its steps time first, in the order of time."""
    write, is_reset, padding = _move_steps_last(steps, reverse)
    if padding is not None:
        write = mask_writes(padding, write)
    write, bad_write, bad_query = strip_nonfinite(write)
    if write.key.ndim == write.query.ndim:
        return ChunkWrites(write, is_reset, bad_write, bad_query)
    num_writes = write.key.shape[-2]
    bad_write = jnp.repeat(bad_write, num_writes, -2)
    if is_reset is not None:
        is_first_of_step = jnp.arange(bad_write.shape[-2])[:, None] % num_writes == 0
        is_reset = jnp.repeat(is_reset, num_writes, -2) & is_first_of_step
    write = map_writes(_flatten_writes, write)
    return ChunkWrites(write, is_reset, bad_write, bad_query)


def pad_steps(steps: Steps, multiple: int, batch_axes: int) -> Steps:
    """The steps, padded at the end to a multiple; in reverse the padding is run first."""
    time = len(steps.write.query)
    count = -time % multiple
    if not count:
        return steps

    def pad(leaf: Array) -> Array:
        return jnp.pad(leaf, [(0, count)] + [(0, 0)] * (leaf.ndim - 1))

    batch = steps.write.query.shape[1 : 1 + batch_axes]
    padding = jnp.zeros((time, *batch), bool) if steps.padding is None else steps.padding
    is_added = (jnp.arange(time + count) >= time).reshape(time + count, *[1] * batch_axes)
    return jax.tree.map(pad, steps)._replace(padding=pad(padding) | is_added)


def _move_steps_last(steps: Steps, reverse: bool) -> tuple[Write, Array | None, Array | None]:
    """[*batch, *heads, step, ...], in the order in which steps are run; flags with axes of size 1
    for heads and channels.
    """
    has_several_writes = steps.write.key.ndim > steps.write.query.ndim

    def move(leaf: Array, trailing_axes: int) -> Array:
        leaf = jnp.flip(leaf, 0) if reverse else leaf
        return jnp.moveaxis(leaf, 0, leaf.ndim - 1 - trailing_axes)

    write = map_writes(lambda leaf: move(leaf, 1 + has_several_writes), steps.write)
    write = write._replace(query=move(write.query, 1))

    def with_head_axes(flag: Array | None) -> Array | None:
        if flag is None:
            return None
        flag = move(flag, 0)
        heads = (1,) * (write.query.ndim - 1 - flag.ndim)
        return flag.reshape(*flag.shape[:-1], *heads, flag.shape[-1], 1)

    return write, with_head_axes(steps.reset), with_head_axes(steps.padding)


def _flatten_writes(leaf: Shaped[Array, "*lead step write channel"]) -> Array:
    """One row per write."""
    *lead, steps, writes, size = leaf.shape
    return leaf.reshape(*lead, steps * writes, size)
