"""All steps of a fast-weight cell in chunks, one after another: one matrix per chunk is kept, and
nothing of its size per step.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...._core.batching import vmap_batch
from ...._core.precision import as_precision, precision
from ...._core.problem import Problem, Solution
from ...._methods.readouts import has_known_time
from ...._methods.scan.scan import Scan
from ...._methods.segments import scan_segments
from ..write import Memory
from .chunk import Resets, block_form
from .layout import Steps, project_writes, to_chunk_layout
from .nonfinite import passed_through
from .stabilizer import with_scales


def solve_in_chunks(problem: Problem, chunk_size: int | None) -> Solution:
    """The solution of a run of a fast-weight cell."""
    if problem.flags.perturbation is not None or problem.return_states:
        return Scan().run(problem)  # all states are made in any case: chunks would save nothing
    if not has_known_time(problem):
        return Scan().run(problem)
    steps, extra, chunk_size = project_writes(problem, chunk_size)
    run_chunk = jax.checkpoint(functools.partial(_run_chunk, problem.init, reverse=problem.reverse))

    def body(memory: Memory, segment: tuple[Steps, None]) -> tuple[Memory, Any]:
        return run_chunk(memory, segment[0])

    state, readings = scan_segments(body, problem.state, steps, chunk_size, reverse=problem.reverse)
    readings = jax.tree.map(lambda leaf: leaf[: problem.time], readings)
    wide = as_precision(problem.cell, precision(problem.init))
    show = vmap_batch(lambda cell, *args: cell.output(*args), wide, problem.batch_axes, time=True)
    return Solution(state, show(readings, extra))


def _run_chunk(init: Memory, memory: Memory, steps: Steps, *, reverse: bool) -> tuple[Memory, Any]:
    """The memory after a chunk of steps, and what `output` is given of each."""
    write, reset, bad, unread, per_step = to_chunk_layout(steps, reverse=reverse)
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
