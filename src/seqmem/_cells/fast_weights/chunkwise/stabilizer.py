"""The stabiliser of exponential gains: the log scale m of the matrix at every step of a chunk."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..write import Memory, Write, later_maximum, rescale_write

LogScales = Float[Array, "*lead step 1"]


class ScaleMaps(NamedTuple):
    """m ↦ max(shift + m, floor), the map of m before the chunk to m after each of its steps."""

    shift: LogScales
    floor: LogScales


def scale_before(memory: Memory) -> tuple[LogScales, Bool[Array, "*lead 1 1"]]:
    """m before a chunk, 0 where it is not a number, and where it is; −∞ is that of no memory."""
    assert memory.log_scale is not None
    m = memory.log_scale[..., None, :]
    has_scale = jnp.isfinite(m) | (m == -jnp.inf)
    return jnp.where(has_scale, m, 0), has_scale


def scale_maps(
    init: Float[Array, "*heads 1 1"], write: Write, is_reset: Bool[Array, "*lead step 1"] | None
) -> ScaleMaps:
    """What each step, with all steps of its chunk before it, does to m.

        m_i = max(g_i + m_{i−1}, gain_i)        g_i = ln decay

    A step is the map m ↦ max(g + m, gain), with g = −inf at a reset; maps are composed in an
    associative scan.

    Args:
        init: m of the initial state.
        write: of every step, [*lead, step, ...].
        is_reset: which steps start from the initial state.
    """
    gain = jnp.zeros_like(write.value[..., :1]) if write.log_gain is None else write.log_gain
    decay = jnp.zeros_like(gain) if write.log_decay is None else write.log_decay
    shift, floor = decay, gain
    if is_reset is not None:
        shift = jnp.where(is_reset, -jnp.inf, decay)
        floor = jnp.where(is_reset, later_maximum(decay + init, gain), gain)
    return compose_along(ScaleMaps(shift, floor), axis=gain.ndim - 2)


def compose_along(maps: ScaleMaps, axis: int) -> ScaleMaps:
    """Each map after all maps before it along an axis."""

    def compose(first: ScaleMaps, second: ScaleMaps) -> ScaleMaps:
        floor = later_maximum(first.floor + second.shift, second.floor)
        return ScaleMaps(first.shift + second.shift, floor)

    return jax.lax.associative_scan(compose, maps, axis=axis)


def stabilize_writes(
    start: Float[Array, "*lead 1 1"],
    init: Float[Array, "*heads 1 1"],
    write: Write,
    is_reset: Bool[Array, "*lead step 1"] | None,
    maps: ScaleMaps,
) -> tuple[Write, LogScales]:
    """The writes without gains, for a matrix divided by exp(m), and m after each step.

    m does not depend on the matrix, so it is computed first.

    Args:
        start: m before the chunk.
        init: m of the initial state.
        write: of every step, [*lead, step, ...].
        is_reset: which steps start from the initial state.
        maps: their `scale_maps`.
    """
    log_scales = later_maximum(start + maps.shift, maps.floor)
    first = jnp.broadcast_to(start, log_scales[..., :1, :].shape)
    previous = jnp.concatenate([first, log_scales[..., :-1, :]], -2)
    if is_reset is not None:
        previous = jnp.where(is_reset, init, previous)
    return rescale_write(write, previous, log_scales), log_scales
