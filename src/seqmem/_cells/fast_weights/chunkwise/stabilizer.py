"""The stabiliser of exponential gains: the log scale m of the matrix at every step of a chunk."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..write import Write, rescale_write

LogScales = Float[Array, "*lead step 1"]


def stabilize_writes(
    start: Float[Array, "*lead 1 1"],
    init: Float[Array, "*heads 1 1"],
    write: Write,
    is_reset: Bool[Array, "*lead step 1"] | None,
) -> tuple[Write, LogScales]:
    """The writes without gains, for a matrix divided by exp(m), and m after each step.

        m_i = max(g_i + m_{i−1}, gain_i)        g_i = ln decay

    m does not depend on the matrix, so it is computed first. A step is the map
    m ↦ max(g + m, gain), with g = −inf at a reset; maps are composed in an associative scan.

    Args:
        start: m before the chunk.
        init: m of the initial state.
        write: of every step, [*lead, step, ...].
        is_reset: which steps start from the initial state.
    """
    gain = jnp.zeros_like(write.value[..., :1]) if write.log_gain is None else write.log_gain
    decay = jnp.zeros_like(gain) if write.log_decay is None else write.log_decay
    shift, floor = decay, gain
    if is_reset is not None:
        shift = jnp.where(is_reset, -jnp.inf, decay)
        floor = jnp.where(is_reset, jnp.maximum(decay + init, gain), gain)

    def compose(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        (shift, floor), (next_shift, next_floor) = first, second
        return shift + next_shift, jnp.maximum(floor + next_shift, next_floor)

    shift, floor = jax.lax.associative_scan(compose, (shift, floor), axis=gain.ndim - 2)
    log_scales = jnp.maximum(start + shift, floor)
    first = jnp.broadcast_to(start, log_scales[..., :1, :].shape)
    previous = jnp.concatenate([first, log_scales[..., :-1, :]], -2)
    if is_reset is not None:
        previous = jnp.where(is_reset, init, previous)
    return rescale_write(write, previous, log_scales), log_scales
