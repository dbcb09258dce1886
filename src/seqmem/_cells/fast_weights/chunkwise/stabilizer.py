"""Exponential gains: the scale that a memory is held over, and writes that are measured in it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..write import Write, rescaled

Scales = Float[Array, "*lead step 1"]


def with_scales(
    start: Float[Array, "*lead 1 1"],
    init: Float[Array, "*heads 1 1"],
    write: Write,
    reset: Bool[Array, "*lead step 1"] | None,
) -> tuple[Write, Scales]:
    """The write without gains, and the log scale after each step: m_i = max(g_i + m_{i−1}, gain_i).

    The scale never looks at the matrix, so it is found first. A step is the map m ↦ max(g + m, i);
    a reset is one with g = −∞.
    """
    gain = jnp.zeros_like(write.value[..., :1]) if write.log_gain is None else write.log_gain
    decay = jnp.zeros_like(gain) if write.log_decay is None else write.log_decay
    passes, enters = decay, gain
    if reset is not None:
        passes = jnp.where(reset, -jnp.inf, decay)
        enters = jnp.where(reset, jnp.maximum(decay + init, gain), gain)

    def then(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        (passes, enters), (g, i) = first, second
        return passes + g, jnp.maximum(enters + g, i)

    passes, enters = jax.lax.associative_scan(then, (passes, enters), axis=gain.ndim - 2)
    scales = jnp.maximum(start + passes, enters)
    first = jnp.broadcast_to(start, scales[..., :1, :].shape)
    before = jnp.concatenate([first, scales[..., :-1, :]], -2)
    if reset is not None:
        before = jnp.where(reset, init, before)
    return rescaled(write, before, scales), scales
