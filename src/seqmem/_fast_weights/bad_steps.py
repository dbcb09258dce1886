"""NaN and infinity, taken out of a block and put back where a loop of single steps has them.

A product over a whole block carries 0 · NaN across resets, and back in time. So a bad write is
replaced by none, and from there to the next reset every reading is NaN. What overflows within a
block, from finite writes, is not seen.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .base import Memory, Write


class Lost(NamedTuple):
    """What a loop of single steps would not know any more."""

    readings: Bool[Array, "*lead step 1"]
    memory: Bool[Array, "*lead 1 1"]


def nothing_where(flags: Bool[Array, "*lead step 1"], write: Write) -> Write:
    """The write, with steps that write nothing: the memory stays bit for bit as it is."""

    def cleared(leaf: Array, empty: float = 0.0) -> Array:
        several = leaf.ndim > write.query.ndim
        return jnp.where(flags[..., None] if several else flags, empty, leaf)

    gain = None if write.log_gain is None else cleared(write.log_gain, -jnp.inf)
    return jax.tree.map(cleared, write._replace(log_gain=None))._replace(log_gain=gain)


def without_bad_steps(
    memory: Memory, write: Write, part: Int[Array, "*lead step 1"] | None
) -> tuple[Memory, Write, Lost]:
    """The memory and the write, finite but for decays and gains of −inf, and what is lost by it.

    Args:
        memory: before the block.
        write: of every step, [*batch, *heads, step, ...].
        part: how many resets until each step; None where there are none.
    """
    axes = write.query.ndim

    def wrong(leaf: Array, *, in_logs: bool = False) -> Array:
        bad = jnp.isnan(leaf) | (leaf == jnp.inf) if in_logs else ~jnp.isfinite(leaf)
        return bad.any(tuple(range(axes - 1, leaf.ndim)))[..., None]

    unread = wrong(write.query)
    heads = jnp.broadcast_shapes(*(leaf.shape[: axes - 2] for leaf in write if leaf is not None))
    bad = jnp.zeros((*heads, write.query.shape[-2], 1), bool)
    for name, leaf in write._asdict().items():
        if leaf is not None and name != "query":
            bad = bad | wrong(leaf, in_logs=name.startswith("log"))
    begun_bad = ~jnp.isfinite(memory.matrix).all((-2, -1), keepdims=True)
    if memory.log_scale is not None:
        begun_bad = begun_bad | ~jnp.isfinite(memory.log_scale[..., None])

    seen = jnp.tri(bad.shape[-2], dtype=bool)
    if part is not None:
        seen = seen & (part == part.mT)
        begun_bad_here = begun_bad & (part == 0)
    else:
        begun_bad_here = begun_bad
    lost = (seen & bad.mT).any(-1, keepdims=True) | begun_bad_here
    write = nothing_where(bad, write._replace(query=jnp.where(unread, 0, write.query)))
    memory = jax.tree.map(
        lambda leaf: jnp.where(begun_bad if leaf.ndim == axes else begun_bad[..., 0], 0, leaf),
        memory,
    )
    return memory, write, Lost(lost | unread, lost[..., -1:, :])
