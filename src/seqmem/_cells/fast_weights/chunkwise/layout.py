"""Writes of many steps, laid out for products: each a step of its own, steps behind heads."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from ...._core.cell import Inputs, project
from ...._core.batching import each
from .nonfinite import nothing_where, without_bad_steps
from ..base import AbstractFastWeightCell, Memory, Write, check_write, each_write

BLOCK = 64  # steps
EVEN = 8  # a block that is longer has a multiple of so many steps, and is halved until it is small


class Steps(NamedTuple):
    """What is known of every step, time first."""

    write: Write
    reset: Bool[Array, "step *batch"] | None
    hold: Bool[Array, "step *batch"] | None


def written(
    cell: AbstractFastWeightCell, init: Memory, inputs: Inputs, batch_axes: int, block: int | None
) -> tuple[Steps, PyTree, int]:
    """What is written at each step, in whole blocks of the size that is returned, and what else
    `output` wants to see.
    """

    def see(cell: AbstractFastWeightCell, x: PyTree) -> tuple[Write, PyTree]:
        drive = project(cell, x, init)
        check_write(cell, init, drive[0])
        return drive

    write, extra = each(see, cell, batch_axes, time=True)(inputs.x)
    steps = Steps(write, inputs.marks.reset, inputs.marks.hold)
    block = min(block or BLOCK, inputs.time)
    if block > EVEN:
        block += -block % EVEN
    if inputs.time % block:
        steps = _filled_up(steps, -inputs.time % block, batch_axes)
    return steps, extra, block


class Writes(NamedTuple):
    """A stretch of steps in the order in which they are run, [*batch, *heads, write, channel]."""

    write: Write  # finite but for decays and gains of −inf
    reset: Bool[Array, "*lead write 1"] | None
    bad: Bool[Array, "*lead write 1"]  # which wrote something else
    unread: Bool[Array, "*lead step 1"]  # which read with something else
    per_step: int


def laid_out(steps: Steps, *, reverse: bool) -> Writes:
    """The writes of a stretch as it comes: time first and in its own order, with whatever stands in
    it.
    """
    write, reset, hold = _steps_last(steps, reverse)
    if hold is not None:
        write = nothing_where(hold, write)
    write, bad, unread = without_bad_steps(write)
    if write.key.ndim == write.query.ndim:
        return Writes(write, reset, bad, unread, 1)
    several = write.key.shape[-2]
    bad = jnp.repeat(bad, several, -2)
    if reset is not None:
        first = jnp.arange(bad.shape[-2])[:, None] % several == 0  # of the writes of a step
        reset = jnp.repeat(reset, several, -2) & first
    return Writes(_one_after_another(write, several), reset, bad, unread, several)


def _filled_up(steps: Steps, missing: int, batch_axes: int) -> Steps:
    """More steps at the end, which are held, so that they may be run first as well."""

    def longer(leaf: Array) -> Array:
        return jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1))

    count = len(steps.write.query)
    batch = steps.write.query.shape[1 : 1 + batch_axes]
    hold = jnp.zeros((count, *batch), bool) if steps.hold is None else steps.hold
    added = (jnp.arange(count + missing) >= count).reshape(-1, *[1] * batch_axes)
    return jax.tree.map(longer, steps)._replace(hold=longer(hold) | added)


def _steps_last(steps: Steps, reverse: bool) -> tuple[Write, Array | None, Array | None]:
    """[*batch, *heads, step, ...], in the order in which they are run; flags with axes of size 1
    for heads and channels.
    """
    several = steps.write.key.ndim > steps.write.query.ndim

    def turned(leaf: Array, trailing: int) -> Array:
        return jnp.moveaxis(jnp.flip(leaf, 0) if reverse else leaf, 0, leaf.ndim - 1 - trailing)

    write = each_write(lambda leaf: turned(leaf, 1 + several), steps.write)
    write = write._replace(query=turned(write.query, 1))

    def beside_heads(flag: Array | None) -> Array | None:
        if flag is None:
            return None
        flag = turned(flag, 0)
        heads = (1,) * (write.query.ndim - 1 - flag.ndim)
        return flag.reshape(*flag.shape[:-1], *heads, flag.shape[-1], 1)

    return write, beside_heads(steps.reset), beside_heads(steps.hold)


def _one_after_another(write: Write, writes: int) -> Write:
    """Every write a step of its own; the query is that of the last one."""
    query = write.query[..., None, :]
    query = jnp.concatenate([*[jnp.zeros_like(query)] * (writes - 1), query], -2)

    def flat(leaf: Array) -> Array:
        return leaf.reshape(*leaf.shape[:-3], -1, leaf.shape[-1])

    return each_write(flat, write)._replace(query=flat(query))
