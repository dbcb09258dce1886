"""All steps of a fast-weight cell by blocks, one after another: a matrix per block is kept, and
nothing of its size per step.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._cell import over, project, readout
from .._methods.blocks import scan_blocks
from .._methods.bptt import unroll_with_bptt
from .._methods.default import default_method
from .._methods.parallel import Parallel, in_parallel
from .._precision import as_precision, precision
from .bad_steps import nothing_where, passed_through, without_bad_steps
from .base import AbstractFastWeightCell, Memory, Write, check_write, each_write
from .block_form import Resets, block_form
from .scales import with_scales

BLOCK = 64  # steps
EVEN = 8  # a block that is longer has a multiple of so many steps, and is halved until it is small


class Steps(NamedTuple):
    """What is known of every step, time first."""

    write: Write
    reset: Bool[Array, "step *batch"] | None
    hold: Bool[Array, "step *batch"] | None


@default_method.register
def _(cell: AbstractFastWeightCell):
    return Parallel()


@in_parallel.register
def _(cell: AbstractFastWeightCell, init, state, inputs, *, batch_axes, reverse, block):
    x, marks = inputs
    if marks.probe is not None:  # they have the size of all states: nothing is left to save
        return unroll_with_bptt(
            cell,
            init,
            state,
            inputs,
            batch_axes=batch_axes,
            reverse=reverse,
            recompute=False,
            block=None,
            transform=None,
        )
    time = inputs.time
    if not time:
        return state, over(lambda x: readout(cell, init, project(cell, x, init)), 1 + batch_axes)(x)

    def see(x: Any) -> tuple[Write, Any]:
        drive = project(cell, x, init)
        check_write(cell, init, drive[0])
        return drive

    write, extra = over(see, 1 + batch_axes)(x)
    steps = Steps(write, marks.reset, marks.hold)
    block = min(block or BLOCK, time)
    if block > EVEN:
        block += -block % EVEN
    count = -(-time // block)
    if count * block > time:
        steps = _filled_up(steps, count * block - time, batch_axes)
    one = functools.partial(_block, init, reverse=reverse)

    def body(memory: Memory, steps: Steps, _: None) -> tuple[Memory, Any]:
        return jax.checkpoint(one)(memory, steps)

    state, readings = scan_blocks(body, state, steps, block, time=count * block, reverse=reverse)
    readings = jax.tree.map(lambda leaf: leaf[:time], readings)
    output = over(as_precision(cell, precision(init)).output, 1 + batch_axes)
    return state, output(readings, extra)


def _filled_up(steps: Steps, missing: int, batch_axes: int) -> Steps:
    """More steps at the end, which are held, so that they may be run first as well."""

    def longer(leaf: Array) -> Array:
        return jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1))

    count = len(steps.write.query)
    batch = steps.write.query.shape[1 : 1 + batch_axes]
    hold = jnp.zeros((count, *batch), bool) if steps.hold is None else steps.hold
    added = (jnp.arange(count + missing) >= count).reshape(-1, *[1] * batch_axes)
    return jax.tree.map(longer, steps)._replace(hold=longer(hold) | added)


def _block(init: Memory, memory: Memory, steps: Steps, *, reverse: bool) -> tuple[Memory, Any]:
    """A block as it comes: time first and in its own order, with whatever stands in it."""
    write, reset, hold = _steps_last(steps, reverse)
    if hold is not None:
        write = nothing_where(hold, write)
    write, bad, unread = without_bad_steps(write)
    several = write.key.ndim > write.query.ndim
    writes = write.key.shape[-2] if several else 1
    if several:
        write = _one_after_another(write, writes)
        bad = jnp.repeat(bad, writes, -2)
        first = jnp.arange(bad.shape[-2])[:, None] % writes == 0  # of the writes of a step
        reset = None if reset is None else jnp.repeat(reset, writes, -2) & first
    scales, matrix = None, memory.matrix
    if memory.log_scale is not None and init.log_scale is not None:
        start = memory.log_scale[..., None, :]
        matrix = jnp.where(jnp.isfinite(start), matrix, jnp.nan)
        start = jnp.where(jnp.isfinite(start), start, 0)
        write, scales = with_scales(start, init.log_scale[..., None, :], write, reset)

    resets = None if reset is None else Resets(reset, jnp.cumsum(reset, -2), init.matrix)
    matrix, reading, lost = passed_through(matrix, block_form(write, resets), bad, resets)

    def in_time(leaf: Array) -> Array:
        leaf = jnp.moveaxis(leaf[..., writes - 1 :: writes, :], -2, 0)
        return jnp.flip(leaf, 0) if reverse else leaf

    reading = in_time(jnp.where(lost, jnp.nan, reading))
    reading = jnp.where(in_time(jnp.repeat(unread, writes, -2)), jnp.nan, reading)
    if scales is None:
        return Memory(matrix), reading
    return Memory(matrix, scales[..., -1, :]), (reading, in_time(scales))


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
