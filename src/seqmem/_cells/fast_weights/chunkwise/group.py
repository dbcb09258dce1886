"""Chunks side by side: what does not depend on the matrix is computed for all chunks of a group at
once, and one product per chunk in order.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ..write import Memory, later_maximum
from .chunk import chunk_of
from .decay import at_every_nth
from .layout import ChunkWrites, Steps, to_chunk_layout
from .matrices import matrices_after
from .nonfinite import lost_steps
from .retention import Resets
from .stabilizer import ScaleMaps, compose_along, scale_before, scale_maps, stabilize_writes
from .view import Read, view_of


def run_group(
    init: Memory,
    memory: Memory,
    steps: Steps,
    *,
    chunk_size: int,
    reverse: bool,
    read: Read | None,
) -> tuple[Memory, Any]:
    """The memory after a group of chunks, and what `output` gets at each step.

    The numbers are those of one chunk after another. Chunks are the first axis, in the order in
    which they are run.
    """
    if reverse:
        steps = jax.tree.map(lambda leaf: jnp.flip(leaf, 0), steps)
    group = len(steps.write.query) // chunk_size
    steps = jax.tree.map(lambda leaf: leaf.reshape(group, chunk_size, *leaf.shape[1:]), steps)
    writes = jax.vmap(lambda steps: to_chunk_layout(steps, reverse=False))(steps)
    S, log_scales = memory.matrix, None
    if memory.log_scale is not None and init.log_scale is not None:
        start, has_scale = scale_before(memory)
        S = jnp.where(has_scale, S, jnp.nan)
        writes, log_scales = _stabilize(start, init.log_scale[..., None, :], writes)

    write, is_reset, bad_write, bad_query = writes
    resets = None if is_reset is None else Resets(is_reset, jnp.cumsum(is_reset, -2), init.matrix)
    has_reset = None if is_reset is None else is_reset.any(-2, keepdims=True)
    chunk = chunk_of(write, resets)
    is_lost_at_start = ~jnp.isfinite(S).all((-2, -1), keepdims=True)
    S = jnp.where(is_lost_at_start, 0, S)
    after, overflows = matrices_after(S, chunk, has_reset)
    is_lost_between = _lost_between(is_lost_at_start, bad_write, overflows, resets)
    is_lost = lost_steps(is_lost_between[:-1], bad_write, resets)
    before = jnp.concatenate([S[None], after[:-1]])
    readings = chunk.reading.of(before)
    if read is not None:
        rows = at_every_nth(write.query, write.key.shape[-2])
        readings = jax.tree.map(writes.after_step, read(view_of(before, write, resets), rows))

    def to_time_first(leaf: Array) -> Array:
        leaf = jnp.moveaxis(leaf, -2, 1)
        leaf = leaf.reshape(group * chunk_size, *leaf.shape[2:])
        return jnp.flip(leaf, 0) if reverse else leaf

    is_lost = writes.after_step(is_lost) | bad_query
    readings = jax.tree.map(lambda leaf: to_time_first(jnp.where(is_lost, jnp.nan, leaf)), readings)
    matrix = jnp.where(is_lost_between[-1], jnp.nan, after[-1])
    if log_scales is None:
        return Memory(matrix), readings
    log_scale = log_scales[-1, ..., -1, :]
    return Memory(matrix, log_scale), (readings, to_time_first(writes.after_step(log_scales)))


def _stabilize(start: Array, init: Array, writes: ChunkWrites) -> tuple[ChunkWrites, Array]:
    """The writes without gains, and the log scale after each of them."""
    write, is_reset = writes.write, writes.is_reset
    maps = scale_maps(init, write, is_reset)
    to_ends = compose_along(ScaleMaps(*(leaf[..., -1:, :] for leaf in maps)), axis=0)
    ends = later_maximum(start + to_ends.shift, to_ends.floor)
    starts = jnp.concatenate([jnp.broadcast_to(start, ends.shape[1:])[None], ends[:-1]])
    write, log_scales = stabilize_writes(starts, init, write, is_reset, maps)
    return writes._replace(write=write), log_scales


def _lost_between(
    is_lost_at_start: Bool[Array, "*lead 1 1"],
    bad_write: Bool[Array, "chunk *lead step 1"],
    overflows: Bool[Array, "chunk *lead 1 1"],
    resets: Resets | None,
) -> Bool[Array, "border *lead 1 1"]:
    """Whether the matrix is not finite, before each chunk and after the last one."""
    has_reset = None
    if resets is not None:
        last = resets.count[..., -1:, :]
        has_reset = last > 0
        bad_write = bad_write & (resets.count == last)
    is_bad = bad_write.any(-2, keepdims=True) | overflows
    is_bad = jnp.concatenate([jnp.broadcast_to(is_lost_at_start, is_bad.shape[1:])[None], is_bad])
    borders = len(is_bad)
    is_earlier = jnp.tri(borders, dtype=bool).reshape(borders, borders, *[1] * (is_bad.ndim - 1))
    if has_reset is not None:
        count = jnp.cumsum(has_reset, 0)
        count = jnp.concatenate([jnp.zeros_like(count[:1]), count])
        is_earlier = is_earlier & (count[:, None] == count)
    return (is_earlier & is_bad).any(1)
