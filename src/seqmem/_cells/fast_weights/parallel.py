"""All steps of a fast-weight cell by blocks, one after another: a matrix per block is kept, and
nothing of its size per step.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._methods.blocks import scan_blocks
from ..._methods.scan.bptt import shown_from, unroll_with_bptt
from ..._methods.default import default_method
from ..._methods.parallel import Parallel, in_parallel
from ..._core.batching import each
from ..._core.precision import as_precision, precision
from .chunkwise.nonfinite import passed_through
from .base import AbstractFastWeightCell, Memory
from .chunkwise.chunk import Resets, block_form
from .chunkwise.layout import Steps, laid_out, written
from .chunkwise.stabilizer import with_scales


@default_method.register
def _(cell: AbstractFastWeightCell):
    return Parallel()


@in_parallel.register
def _(cell: AbstractFastWeightCell, init, state, inputs, *, batch_axes, reverse, block):
    x, marks = inputs
    if marks.perturbation is not None:  # they have the size of all states: nothing is left to save
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
        return state, shown_from(batch_axes, cell, init, x)

    steps, extra, block = written(cell, init, inputs, batch_axes, block)
    one = functools.partial(_block, init, reverse=reverse)

    def body(memory: Memory, steps: Steps, _: None) -> tuple[Memory, Any]:
        return jax.checkpoint(one)(memory, steps)

    state, readings = scan_blocks(
        body, state, steps, block, time=len(steps.write.query), reverse=reverse
    )
    readings = jax.tree.map(lambda leaf: leaf[:time], readings)
    wide = as_precision(cell, precision(init))
    output = each(lambda cell, *seen: cell.output(*seen), wide, batch_axes, time=True)
    return state, output(readings, extra)


def _block(init: Memory, memory: Memory, steps: Steps, *, reverse: bool) -> tuple[Memory, Any]:
    """The memory after a block of steps, and what `output` is given of each."""
    write, reset, bad, unread, per_step = laid_out(steps, reverse=reverse)
    scales, matrix = None, memory.matrix
    if memory.log_scale is not None and init.log_scale is not None:
        start = memory.log_scale[..., None, :]
        matrix = jnp.where(jnp.isfinite(start), matrix, jnp.nan)
        start = jnp.where(jnp.isfinite(start), start, 0)
        write, scales = with_scales(start, init.log_scale[..., None, :], write, reset)

    resets = None if reset is None else Resets(reset, jnp.cumsum(reset, -2), init.matrix)
    matrix, reading, lost = passed_through(matrix, block_form(write, resets), bad, resets)

    def in_time(leaf: Array) -> Array:
        leaf = jnp.moveaxis(leaf, -2, 0)
        return jnp.flip(leaf, 0) if reverse else leaf

    shown = slice(per_step - 1, None, per_step)
    lost = lost[..., shown, :] | unread
    reading = in_time(jnp.where(lost, jnp.nan, reading[..., shown, :]))
    if scales is None:
        return Memory(matrix), reading
    return Memory(matrix, scales[..., -1, :]), (reading, in_time(scales[..., shown, :]))
