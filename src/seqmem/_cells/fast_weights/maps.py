"""The maps of the fast weights: S ↦ S P + R, or R alone where the stretch begins anew.

With gains, S is held over exp(m), and the map of m ↦ max(passes + m, enters) stands beside it:
P is then exp(passes) for all channels, and R is held over exp(enters).
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._core.cell import Inputs
from ..._core.errors import bad_input
from ..._methods.blocks import scan_blocks
from ..._methods.maps import apply, compose, summarise
from ..._core.shard_map import varying_alike
from .chunkwise.nonfinite import passed_through
from .base import AbstractFastWeightCell, Memory, matmul
from .chunkwise.chunk import Resets, block_form
from .chunkwise.layout import Steps, laid_out, written
from .chunkwise.stabilizer import with_scales


class ScaleMap(NamedTuple):
    passes: Float[Array, "*lead 1"]
    enters: Float[Array, "*lead 1"]


class FastWeightMap(NamedTuple):
    P: Float[Array, "*lead key key"]
    R: Float[Array, "*lead value key"]
    cut: Bool[Array, "*lead 1 1"]
    scale: ScaleMap | None


@summarise.register
def _(
    cell: AbstractFastWeightCell, init: Memory, inputs: Inputs, *, batch_axes: int, reverse: bool
) -> FastWeightMap:
    if inputs.marks.perturbation is not None:
        raise bad_input(
            f"perturbations for {type(cell).__name__}, over sharded time.",
            "none: they have the size of all states, which this family never makes.",
            "use method=seqmem.Scan(), on time that is not sharded.",
        )
    steps, _, block = written(cell, init, inputs, batch_axes, None)
    lead = steps.write.query.shape[1 : 1 + batch_axes]
    one = functools.partial(_map_of_block, init, reverse=reverse)

    def body(so_far: FastWeightMap, steps: Steps, _: None) -> tuple[FastWeightMap, None]:
        return compose(so_far, one(steps)), None

    nothing, steps = varying_alike((_identity(init, lead), steps))
    return scan_blocks(body, nothing, steps, block, time=len(steps.write.query), reverse=reverse)[0]


def _identity(init: Memory, batch: tuple[int, ...]) -> FastWeightMap:
    *heads, _, keys = init.matrix.shape
    dtype = init.matrix.dtype
    scale = None
    if init.log_scale is not None:
        shape = (*batch, *init.log_scale.shape)
        scale = ScaleMap(jnp.zeros(shape, dtype), jnp.full(shape, -jnp.inf, dtype))
    return FastWeightMap(
        jnp.broadcast_to(jnp.eye(keys, dtype=dtype), (*batch, *heads, keys, keys)),
        jnp.zeros((*batch, *init.matrix.shape), dtype),
        jnp.zeros((*batch, *heads, 1, 1), bool),
        scale,
    )


def _map_of_block(init: Memory, steps: Steps, *, reverse: bool) -> FastWeightMap:
    write, reset, bad, _, _ = laid_out(steps, reverse=reverse)
    scale, fades = None, write.log_decay
    if init.log_scale is not None:
        begin = init.log_scale[..., None, :]
        passes = jnp.zeros_like(write.value[..., 0, :1]) if fades is None else fades.sum(-2)
        if reset is not None:
            passes = jnp.where(reset.any(-2), -jnp.inf, passes)
        write, scales = with_scales(jnp.full_like(begin, -jnp.inf), begin, write, reset)
        scale = ScaleMap(passes, scales[..., -1, :])
    resets = None if reset is None else Resets(reset, jnp.cumsum(reset, -2), init.matrix)
    block = block_form(write, resets)
    R, _, _ = passed_through(jnp.zeros_like(block.R), block, bad, resets)
    P = jnp.eye(R.shape[-1], dtype=R.dtype)
    if scale is None and block.P is not None:
        P = block.P * P if block.P.shape[-2] == 1 else block.P
    cut = jnp.array(False) if reset is None else reset.any(-2, keepdims=True)
    lead = R.shape[:-2]
    return FastWeightMap(
        jnp.broadcast_to(P, (*lead, *P.shape[-2:])), R, jnp.broadcast_to(cut, (*lead, 1, 1)), scale
    )


@compose.register
def _(first: FastWeightMap, then: FastWeightMap) -> FastWeightMap:
    cut = first.cut | then.cut
    if first.scale is None or then.scale is None:
        passed = matmul(first.R, then.P)
        R = jnp.where(then.cut, then.R, passed + then.R)
        return FastWeightMap(matmul(first.P, then.P), R, cut, None)
    passes = first.scale.passes + then.scale.passes
    R, enters = _joined(first.R, first.scale.enters, then)
    return FastWeightMap(first.P, R, cut, ScaleMap(passes, enters))


@apply.register
def _(map: FastWeightMap, memory: Memory) -> Memory:
    if map.scale is None or memory.log_scale is None:
        return Memory(jnp.where(map.cut, map.R, matmul(memory.matrix, map.P) + map.R))
    return Memory(*_joined(memory.matrix, memory.log_scale, map))


def _joined(S: Array, m: Array, then: FastWeightMap) -> tuple[Array, Array]:
    """exp(m) S behind a stretch with gains, and its new scale."""
    assert then.scale is not None
    passes, enters = then.scale
    after = jnp.maximum(m + passes, enters)
    level = jnp.where(after == -jnp.inf, 0, after)
    passed, entered = (jnp.exp(part - level)[..., None] for part in (m + passes, enters))
    return jnp.where(then.cut, 0, S * passed) + then.R * entered, after
