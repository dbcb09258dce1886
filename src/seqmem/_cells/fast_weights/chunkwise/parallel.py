"""The solution of a run of a fast-weight cell in chunks, one after another: one matrix is saved per
chunk, and none per step.
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
from .chunk import Resets, chunk_of
from .layout import Steps, project_writes, to_chunk_layout
from .nonfinite import apply_chunk
from .stabilizer import stabilize_writes


def solve_in_chunks(problem: Problem, chunk_size: int | None) -> Solution:
    """The solution of a run of a fast-weight cell."""
    if problem.flags.perturbation is not None or problem.return_states:
        return Scan().run(problem)  # every state is made in any case: chunks would save nothing
    if not has_known_time(problem):
        return Scan().run(problem)
    steps, extra, chunk_size = project_writes(problem, chunk_size)
    run_chunk = jax.checkpoint(functools.partial(_run_chunk, problem.init, reverse=problem.reverse))

    def body(memory: Memory, segment: tuple[Steps, None]) -> tuple[Memory, Any]:
        return run_chunk(memory, segment[0])

    state, readings = scan_segments(body, problem.state, steps, chunk_size, reverse=problem.reverse)
    readings = jax.tree.map(lambda leaf: leaf[: problem.time], readings)
    cell = as_precision(problem.cell, precision(problem.init))
    output = vmap_batch(lambda cell, *args: cell.output(*args), cell, problem.batch_axes, time=True)
    return Solution(state, output(readings, extra))


def _run_chunk(init: Memory, memory: Memory, steps: Steps, *, reverse: bool) -> tuple[Memory, Any]:
    """The memory after a chunk of steps, and what `output` gets at each."""
    write, is_reset, bad_write, bad_query, writes_per_step = to_chunk_layout(steps, reverse=reverse)
    log_scales, matrix = None, memory.matrix
    if memory.log_scale is not None and init.log_scale is not None:
        start = memory.log_scale[..., None, :]
        has_scale = jnp.isfinite(start) | (start == -jnp.inf)  # −inf: the memory is empty
        matrix = jnp.where(has_scale, matrix, jnp.nan)
        start = jnp.where(has_scale, start, 0)
        write, log_scales = stabilize_writes(start, init.log_scale[..., None, :], write, is_reset)

    resets = None if is_reset is None else Resets(is_reset, jnp.cumsum(is_reset, -2), init.matrix)
    matrix, readings, is_lost = apply_chunk(matrix, chunk_of(write, resets), bad_write, resets)

    def to_time_first(leaf: Array) -> Array:
        leaf = jnp.moveaxis(leaf, -2, 0)
        return jnp.flip(leaf, 0) if reverse else leaf

    last_of_step = slice(writes_per_step - 1, None, writes_per_step)
    is_lost = is_lost[..., last_of_step, :] | bad_query
    readings = to_time_first(jnp.where(is_lost, jnp.nan, readings[..., last_of_step, :]))
    if log_scales is None:
        return Memory(matrix), readings
    new_memory = Memory(matrix, log_scales[..., -1, :])
    return new_memory, (readings, to_time_first(log_scales[..., last_of_step, :]))
