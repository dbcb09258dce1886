"""The solution of a run of a fast-weight cell in chunks, one after another or in groups side by
side: one matrix is saved per chunk, and none per step.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...._core.batching import vmap_batch
from ...._core.precision import as_precision, precision
from ...._core.problem import Problem, Solution
from ...._methods.parallel import Parallel
from ...._methods.readouts import has_known_time
from ...._methods.scan.scan import Scan
from ...._methods.segments import scan_segments
from ..write import Memory
from .chunk import chunk_of
from .decay import at_every_nth
from .group import run_group
from .layout import Steps, pad_steps, project_writes, to_chunk_layout
from .matrices import SAVED
from .nonfinite import apply_chunk
from .retention import Resets
from .schedule import schedule_of
from .stabilizer import scale_before, scale_maps, stabilize_writes
from .view import Read, reading_by, view_of


def solve_in_chunks(problem: Problem, method: Parallel) -> Solution:
    """The solution of a run of a fast-weight cell."""
    if problem.flags.perturbation is not None or problem.return_states:
        return Scan().run(problem)  # every state is made in any case: chunks would save nothing
    if not has_known_time(problem):
        return Scan().run(problem)
    if method.kernel:
        from ..borrowed_kernels import solve_by_kernel

        in_chunks = functools.partial(solve_in_chunks, method=Parallel(method.chunk_size))
        return solve_by_kernel(problem, method.kernel, in_chunks)
    steps, extra = project_writes(problem)
    schedule = schedule_of(problem, steps.write, method.chunk_size)
    steps = pad_steps(steps, schedule.steps, problem.batch_axes)
    cell = as_precision(problem.cell, precision(problem.init))
    read = reading_by(cell, problem.batch_axes)
    run = functools.partial(_run_chunk, problem.init, reverse=problem.reverse, read=read)
    if schedule.group > 1:
        read = reading_by(cell, problem.batch_axes, in_groups=True)
        run = functools.partial(run_group, problem.init, reverse=problem.reverse, read=read)
        run = functools.partial(run, chunk_size=schedule.chunk_size)
    # Of a group, all is computed again side by side but the matrices, which come one by one.
    run = jax.checkpoint(run, policy=jax.checkpoint_policies.save_only_these_names(SAVED))

    def body(memory: Memory, segment: tuple[Steps, None]) -> tuple[Memory, Any]:
        return run(memory, segment[0])

    state, readings = scan_segments(
        body, problem.state, steps, schedule.steps, reverse=problem.reverse
    )
    readings = jax.tree.map(lambda leaf: leaf[: problem.time], readings)
    output = vmap_batch(lambda cell, *args: cell.output(*args), cell, problem.batch_axes, time=True)
    return Solution(state, output(readings, extra))


def _run_chunk(
    init: Memory, memory: Memory, steps: Steps, *, reverse: bool, read: Read | None
) -> tuple[Memory, Any]:
    """The memory after a chunk of steps, and what `output` gets at each."""
    writes = to_chunk_layout(steps, reverse=reverse)
    write, is_reset, bad_write, bad_query = writes
    log_scales, matrix = None, memory.matrix
    if memory.log_scale is not None and init.log_scale is not None:
        start, has_scale = scale_before(memory)
        matrix = jnp.where(has_scale, matrix, jnp.nan)
        m_init = init.log_scale[..., None, :]
        maps = scale_maps(m_init, write, is_reset)
        write, log_scales = stabilize_writes(start, m_init, write, is_reset, maps)

    resets = None if is_reset is None else Resets(is_reset, jnp.cumsum(is_reset, -2), init.matrix)
    before = matrix
    matrix, readings, is_lost = apply_chunk(matrix, chunk_of(write, resets), bad_write, resets)
    if read is not None:
        rows = at_every_nth(write.query, write.key.shape[-2])
        readings = jax.tree.map(writes.after_step, read(view_of(before, write, resets), rows))

    def to_time_first(leaf: Array) -> Array:
        leaf = jnp.moveaxis(leaf, -2, 0)
        return jnp.flip(leaf, 0) if reverse else leaf

    is_lost = writes.after_step(is_lost) | bad_query
    readings = jax.tree.map(lambda leaf: to_time_first(jnp.where(is_lost, jnp.nan, leaf)), readings)
    if log_scales is None:
        return Memory(matrix), readings
    new_memory = Memory(matrix, log_scales[..., -1, :])
    return new_memory, (readings, to_time_first(writes.after_step(log_scales)))
