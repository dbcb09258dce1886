"""The transition of a stretch of time: S ↦ S P + R, or R alone where the stretch has a reset.

With gains, the matrix is held divided by exp(m). Then the transition also has the map
m ↦ max(shift + m, floor); P is exp(shift) for all channels, and R is held divided by exp(floor).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...._core.errors import bad_input
from ...._core.problem import Problem
from ...._core.shard_map import match_varying_axes
from ...._methods.segments import scan_segments
from ..write import Memory, later_maximum, matmul
from .chunk import chunk_of
from .layout import Steps, pad_steps, project_writes, to_chunk_layout
from .nonfinite import apply_chunk
from .retention import Resets
from .schedule import chunk_steps
from .stabilizer import scale_maps, stabilize_writes


class ScaleTransition(NamedTuple):
    """m ↦ max(shift + m, floor)."""

    shift: Float[Array, "*lead 1"]
    floor: Float[Array, "*lead 1"]


class FastWeightTransition(NamedTuple):
    """S ↦ S P + R; R where the stretch has a reset."""

    P: Float[Array, "*lead key key"]
    R: Float[Array, "*lead value key"]
    has_reset: Bool[Array, "*lead 1 1"]
    scale: ScaleTransition | None


def transition_of(problem: Problem) -> FastWeightTransition:
    """The transition of all steps of a run."""
    if problem.flags.perturbation is not None:
        raise bad_input(
            f"perturbations for {type(problem.cell).__name__}, over sharded time.",
            "no perturbations: they have the size of all states, which this family never makes.",
            "use method=seqmem.Scan(), on time that is not sharded.",
        )
    steps, _ = project_writes(problem)
    chunk_size = chunk_steps(problem.time, None)
    steps = pad_steps(steps, chunk_size, problem.batch_axes)

    def body(so_far: FastWeightTransition, segment: tuple[Steps, None]):
        chunk = _chunk_transition(problem.init, segment[0], reverse=problem.reverse)
        return compose_transitions(so_far, chunk), None

    identity, steps = match_varying_axes((_identity(problem.init, problem.batch), steps))
    return scan_segments(body, identity, steps, chunk_size, reverse=problem.reverse)[0]


def _identity(init: Memory, batch: tuple[int, ...]) -> FastWeightTransition:
    *heads, _, key_size = init.matrix.shape
    dtype = init.matrix.dtype
    scale = None
    if init.log_scale is not None:
        shape = (*batch, *init.log_scale.shape)
        scale = ScaleTransition(jnp.zeros(shape, dtype), jnp.full(shape, -jnp.inf, dtype))
    return FastWeightTransition(
        jnp.broadcast_to(jnp.eye(key_size, dtype=dtype), (*batch, *heads, key_size, key_size)),
        jnp.zeros((*batch, *init.matrix.shape), dtype),
        jnp.zeros((*batch, *heads, 1, 1), bool),
        scale,
    )


def _chunk_transition(init: Memory, steps: Steps, *, reverse: bool) -> FastWeightTransition:
    write, is_reset, bad_write, _ = to_chunk_layout(steps, reverse=reverse)
    has_reset = jnp.array(False) if is_reset is None else is_reset.any(-2, keepdims=True)
    scale, log_decay = None, write.log_decay
    if init.log_scale is not None:
        m_init = init.log_scale[..., None, :]
        shift = jnp.zeros_like(write.value[..., 0, :1]) if log_decay is None else log_decay.sum(-2)
        if is_reset is not None:
            shift = jnp.where(has_reset[..., 0, :], -jnp.inf, shift)
        no_memory = jnp.full_like(m_init, -jnp.inf)
        maps = scale_maps(m_init, write, is_reset)
        write, log_scales = stabilize_writes(no_memory, m_init, write, is_reset, maps)
        scale = ScaleTransition(shift, log_scales[..., -1, :])
    resets = None if is_reset is None else Resets(is_reset, jnp.cumsum(is_reset, -2), init.matrix)
    chunk = chunk_of(write, resets)
    R, _, _ = apply_chunk(jnp.zeros_like(chunk.R), chunk, bad_write, resets)
    P = jnp.eye(R.shape[-1], dtype=R.dtype)
    if scale is None and chunk.P is not None:
        is_diagonal = chunk.P.shape[-2] == 1
        P = chunk.P * P if is_diagonal else chunk.P
    lead = R.shape[:-2]
    return FastWeightTransition(
        jnp.broadcast_to(P, (*lead, *P.shape[-2:])),
        R,
        jnp.broadcast_to(has_reset, (*lead, 1, 1)),
        scale,
    )


def compose_transitions(
    first: FastWeightTransition, then: FastWeightTransition
) -> FastWeightTransition:
    """The transition of two stretches, one after the other."""
    has_reset = first.has_reset | then.has_reset
    if first.scale is None or then.scale is None:
        R = jnp.where(then.has_reset, then.R, matmul(first.R, then.P) + then.R)
        return FastWeightTransition(matmul(first.P, then.P), R, has_reset, None)
    shift = first.scale.shift + then.scale.shift
    R, floor = _apply_scaled(first.R, first.scale.floor, then)
    return FastWeightTransition(first.P, R, has_reset, ScaleTransition(shift, floor))


def apply_transition(transition: FastWeightTransition, memory: Memory) -> Memory:
    """The memory after the stretch, given the memory before it."""
    P, R, has_reset, scale = transition
    if scale is None or memory.log_scale is None:
        return Memory(jnp.where(has_reset, R, matmul(memory.matrix, P) + R))
    return Memory(*_apply_scaled(memory.matrix, memory.log_scale, transition))


def _apply_scaled(S: Array, m: Array, then: FastWeightTransition) -> tuple[Array, Array]:
    """The transition with gains of exp(m) S: the new matrix and its log scale."""
    assert then.scale is not None
    shift, floor = then.scale
    decayed_m = jnp.where(then.has_reset[..., 0], -jnp.inf, m + shift)  # m may be NaN
    new_m = later_maximum(decayed_m, floor)
    level = jnp.where(new_m == -jnp.inf, 0, new_m)
    decay, gain = (jnp.exp(log - level)[..., None] for log in (decayed_m, floor))
    return jnp.where(then.has_reset, 0, S * decay) + then.R * gain, new_m
