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
from .bad_steps import nothing_where, without_bad_steps
from .base import AbstractFastWeightCell, Memory, Write, check_write, each_write
from .block_form import block_form
from .decay import SMALL

BLOCK = 64


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

    if not inputs.time:
        return state, over(lambda x: readout(cell, init, project(cell, x, init)), 1 + batch_axes)(x)

    def see(x: Any) -> tuple[Write, Any]:
        drive = project(cell, x, init)
        check_write(cell, init, drive[0])
        return drive

    write, extra = over(see, 1 + batch_axes)(x)
    output = over(as_precision(cell, precision(init)).output, 1 + batch_axes)
    one = functools.partial(_block, init, batch_axes=batch_axes, reverse=reverse)

    def body(memory: Memory, steps: Steps, _: None) -> tuple[Memory, Any]:
        return jax.checkpoint(one)(memory, steps)

    size, steps = min(block or BLOCK, inputs.time), Steps(write, marks.reset, marks.hold)
    state, readings = scan_blocks(body, state, steps, size, time=inputs.time, reverse=reverse)
    return state, output(readings, extra)


def _block(
    init: Memory, memory: Memory, steps: Steps, *, batch_axes: int, reverse: bool
) -> tuple[Memory, Any]:
    """A block as it comes: time first and in its own order, with whatever stands in it."""
    count = len(steps.write.query)
    several = steps.write.key.ndim > steps.write.query.ndim
    if count > SMALL:
        steps = _filled_up(steps, -count % SMALL, batch_axes)

    def behind_heads(leaf: Array, trailing: int = 1) -> Array:
        return jnp.moveaxis(jnp.flip(leaf, 0) if reverse else leaf, 0, leaf.ndim - 1 - trailing)

    write = each_write(lambda leaf: behind_heads(leaf, 1 + several), steps.write)
    write = write._replace(query=behind_heads(write.query))

    def beside_heads(flag: Array) -> Array:  # [*batch, 1 for each axis of heads, step, 1]
        flag = behind_heads(flag, 0)
        heads = (1,) * (write.query.ndim - 1 - flag.ndim)
        return flag.reshape(*flag.shape[:-1], *heads, flag.shape[-1], 1)

    if steps.hold is not None:
        write = nothing_where(beside_heads(steps.hold), write)
    reset = None if steps.reset is None else beside_heads(steps.reset)
    part = None if reset is None else jnp.cumsum(reset, -2)
    memory, write, lost = without_bad_steps(memory, write, part)
    memory, reading, scale = block_form(memory, init, write, reset)
    memory = memory._replace(matrix=jnp.where(lost.memory, jnp.nan, memory.matrix))
    reading = jnp.where(lost.readings, jnp.nan, reading)

    def in_time(leaf: Array) -> Array:
        leaf = jnp.moveaxis(leaf, -2, 0)
        leaf = jnp.flip(leaf, 0) if reverse else leaf
        return leaf[:count]

    return memory, in_time(reading) if scale is None else (in_time(reading), in_time(scale))


def _filled_up(steps: Steps, missing: int, batch_axes: int) -> Steps:
    """More steps at the end, which are held, so that they may be run first as well."""
    if not missing:
        return steps

    def longer(leaf: Array) -> Array:
        return jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1))

    count = len(steps.write.query)
    batch = steps.write.query.shape[1 : 1 + batch_axes]
    hold = jnp.zeros((count, *batch), bool) if steps.hold is None else steps.hold
    added = (jnp.arange(count + missing) >= count).reshape(-1, *[1] * batch_axes)
    return jax.tree.map(longer, steps)._replace(hold=longer(hold) | added)
