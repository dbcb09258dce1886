"""The maps of the fast weights: S ↦ S P + R, or R alone where the stretch begins anew.

With gains, S is held over exp(m), and the map of m ↦ max(passes + m, enters) stands beside it:
P is then exp(passes) for all channels, and R is held over exp(enters).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...._core.errors import bad_input
from ...._core.problem import Problem
from ...._core.shard_map import match_varying_axes
from ...._methods.segments import scan_segments
from ..write import Memory, matmul
from .chunk import Resets, block_form
from .layout import Steps, project_writes, to_chunk_layout
from .nonfinite import passed_through
from .stabilizer import with_scales


class ScaleTransition(NamedTuple):
    passes: Float[Array, "*lead 1"]
    enters: Float[Array, "*lead 1"]


class FastWeightTransition(NamedTuple):
    P: Float[Array, "*lead key key"]
    R: Float[Array, "*lead value key"]
    cut: Bool[Array, "*lead 1 1"]
    scale: ScaleTransition | None


def transition_of(problem: Problem) -> FastWeightTransition:
    """The transition of all steps."""
    if problem.flags.perturbation is not None:
        raise bad_input(
            f"perturbations for {type(problem.cell).__name__}, over sharded time.",
            "none: they have the size of all states, which this family never makes.",
            "use method=seqmem.Scan(), on time that is not sharded.",
        )
    steps, _, chunk_size = project_writes(problem, None)

    def body(so_far: FastWeightTransition, segment: tuple[Steps, None]):
        chunk = _chunk_transition(problem.init, segment[0], reverse=problem.reverse)
        return compose_transitions(so_far, chunk), None

    identity, steps = match_varying_axes((_identity(problem.init, problem.batch), steps))
    return scan_segments(body, identity, steps, chunk_size, reverse=problem.reverse)[0]


def _identity(init: Memory, batch: tuple[int, ...]) -> FastWeightTransition:
    *heads, _, keys = init.matrix.shape
    dtype = init.matrix.dtype
    scale = None
    if init.log_scale is not None:
        shape = (*batch, *init.log_scale.shape)
        scale = ScaleTransition(jnp.zeros(shape, dtype), jnp.full(shape, -jnp.inf, dtype))
    return FastWeightTransition(
        jnp.broadcast_to(jnp.eye(keys, dtype=dtype), (*batch, *heads, keys, keys)),
        jnp.zeros((*batch, *init.matrix.shape), dtype),
        jnp.zeros((*batch, *heads, 1, 1), bool),
        scale,
    )


def _chunk_transition(init: Memory, steps: Steps, *, reverse: bool) -> FastWeightTransition:
    write, reset, bad, _, _ = to_chunk_layout(steps, reverse=reverse)
    scale, fades = None, write.log_decay
    if init.log_scale is not None:
        begin = init.log_scale[..., None, :]
        passes = jnp.zeros_like(write.value[..., 0, :1]) if fades is None else fades.sum(-2)
        if reset is not None:
            passes = jnp.where(reset.any(-2), -jnp.inf, passes)
        write, scales = with_scales(jnp.full_like(begin, -jnp.inf), begin, write, reset)
        scale = ScaleTransition(passes, scales[..., -1, :])
    resets = None if reset is None else Resets(reset, jnp.cumsum(reset, -2), init.matrix)
    block = block_form(write, resets)
    R, _, _ = passed_through(jnp.zeros_like(block.R), block, bad, resets)
    P = jnp.eye(R.shape[-1], dtype=R.dtype)
    if scale is None and block.P is not None:
        P = block.P * P if block.P.shape[-2] == 1 else block.P
    cut = jnp.array(False) if reset is None else reset.any(-2, keepdims=True)
    lead = R.shape[:-2]
    return FastWeightTransition(
        jnp.broadcast_to(P, (*lead, *P.shape[-2:])), R, jnp.broadcast_to(cut, (*lead, 1, 1)), scale
    )


def compose_transitions(
    first: FastWeightTransition, then: FastWeightTransition
) -> FastWeightTransition:
    cut = first.cut | then.cut
    if first.scale is None or then.scale is None:
        passed = matmul(first.R, then.P)
        R = jnp.where(then.cut, then.R, passed + then.R)
        return FastWeightTransition(matmul(first.P, then.P), R, cut, None)
    passes = first.scale.passes + then.scale.passes
    R, enters = _joined(first.R, first.scale.enters, then)
    return FastWeightTransition(first.P, R, cut, ScaleTransition(passes, enters))


def apply_transition(transition: FastWeightTransition, memory: Memory) -> Memory:
    if transition.scale is None or memory.log_scale is None:
        return Memory(
            jnp.where(
                transition.cut, transition.R, matmul(memory.matrix, transition.P) + transition.R
            )
        )
    return Memory(*_joined(memory.matrix, memory.log_scale, transition))


def _joined(S: Array, m: Array, then: FastWeightTransition) -> tuple[Array, Array]:
    """exp(m) S behind a stretch with gains, and its new scale."""
    assert then.scale is not None
    passes, enters = then.scale
    after = jnp.maximum(m + passes, enters)
    level = jnp.where(after == -jnp.inf, 0, after)
    passed, entered = (jnp.exp(part - level)[..., None] for part in (m + passes, enters))
    return jnp.where(then.cut, 0, S * passed) + then.R * entered, after
