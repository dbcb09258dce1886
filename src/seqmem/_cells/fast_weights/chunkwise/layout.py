"""Writes of many steps, laid out for products: each a step of its own, steps behind heads."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from ...._core.batching import vmap_batch
from ...._core.cell import AbstractCell, project
from ...._core.problem import Problem
from ..write import Write, check_write, map_writes
from .nonfinite import nothing_where, without_bad_steps

CHUNK_SIZE = 64  # steps
EVEN = 8  # a block that is longer has a multiple of so many steps, and is halved until it is small


class Steps(NamedTuple):
    """What is known of every step, time first."""

    write: Write
    reset: Bool[Array, "step *batch"] | None
    padding: Bool[Array, "step *batch"] | None


def project_writes(problem: Problem, chunk_size: int | None) -> tuple[Steps, PyTree, int]:
    """What is written at each step, padded to whole chunks of the size that is returned, and what
    else `output` gets of each input.
    """

    def see(cell: AbstractCell, x: PyTree) -> tuple[Write, PyTree]:
        drive = project(cell, x, problem.init)
        check_write(cell, problem.init, drive[0])
        return drive

    axes = problem.batch_axes
    write, extra = vmap_batch(see, problem.cell, axes, time=True)(problem.inputs)
    steps = Steps(write, problem.flags.reset, problem.flags.padding)
    chunk_size = min(chunk_size or CHUNK_SIZE, problem.time)
    if chunk_size > EVEN:
        chunk_size += -chunk_size % EVEN
    if problem.time % chunk_size:
        steps = _pad_steps(steps, -problem.time % chunk_size, axes)
    return steps, extra, chunk_size


class Writes(NamedTuple):
    """A stretch of steps in the order in which they are run, [*batch, *heads, write, channel]."""

    write: Write  # finite but for decays and gains of −inf
    reset: Bool[Array, "*lead write 1"] | None
    bad: Bool[Array, "*lead write 1"]  # which wrote something else
    unread: Bool[Array, "*lead step 1"]  # which read with something else
    per_step: int


def to_chunk_layout(steps: Steps, *, reverse: bool) -> Writes:
    """The writes of a stretch as it comes: time first and in its own order, with whatever stands in
    it.
    """
    write, reset, padding = _steps_last(steps, reverse)
    if padding is not None:
        write = nothing_where(padding, write)
    write, bad, unread = without_bad_steps(write)
    if write.key.ndim == write.query.ndim:
        return Writes(write, reset, bad, unread, 1)
    several = write.key.shape[-2]
    bad = jnp.repeat(bad, several, -2)
    if reset is not None:
        first = jnp.arange(bad.shape[-2])[:, None] % several == 0  # of the writes of a step
        reset = jnp.repeat(reset, several, -2) & first
    return Writes(_flatten_writes(write, several), reset, bad, unread, several)


def _pad_steps(steps: Steps, missing: int, batch_axes: int) -> Steps:
    """More steps at the end, which are held, so that they may be run first as well."""

    def longer(leaf: Array) -> Array:
        return jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1))

    count = len(steps.write.query)
    batch = steps.write.query.shape[1 : 1 + batch_axes]
    padding = jnp.zeros((count, *batch), bool) if steps.padding is None else steps.padding
    added = (jnp.arange(count + missing) >= count).reshape(-1, *[1] * batch_axes)
    return jax.tree.map(longer, steps)._replace(padding=longer(padding) | added)


def _steps_last(steps: Steps, reverse: bool) -> tuple[Write, Array | None, Array | None]:
    """[*batch, *heads, step, ...], in the order in which they are run; flags with axes of size 1
    for heads and channels.
    """
    several = steps.write.key.ndim > steps.write.query.ndim

    def turned(leaf: Array, trailing: int) -> Array:
        return jnp.moveaxis(jnp.flip(leaf, 0) if reverse else leaf, 0, leaf.ndim - 1 - trailing)

    write = map_writes(lambda leaf: turned(leaf, 1 + several), steps.write)
    write = write._replace(query=turned(write.query, 1))

    def beside_heads(flag: Array | None) -> Array | None:
        if flag is None:
            return None
        flag = turned(flag, 0)
        heads = (1,) * (write.query.ndim - 1 - flag.ndim)
        return flag.reshape(*flag.shape[:-1], *heads, flag.shape[-1], 1)

    return write, beside_heads(steps.reset), beside_heads(steps.padding)


def _flatten_writes(write: Write, writes: int) -> Write:
    """Every write a step of its own; the query is that of the last one."""
    query = write.query[..., None, :]
    query = jnp.concatenate([*[jnp.zeros_like(query)] * (writes - 1), query], -2)

    def flat(leaf: Array) -> Array:
        return leaf.reshape(*leaf.shape[:-3], -1, leaf.shape[-1])

    return map_writes(flat, write)._replace(query=flat(query))
