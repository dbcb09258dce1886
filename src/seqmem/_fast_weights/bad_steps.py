"""NaN and infinity, taken out of a block and put back where a loop of single steps has them.

A product over a whole block carries 0 · NaN across resets, and back in time. So a bad write is
replaced by none, and from there to the next reset every reading is NaN. What overflows within a
block, from finite writes, is not seen.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .base import Write


def nothing_where(flags: Bool[Array, "*lead step 1"], write: Write) -> Write:
    """The write, with steps that write nothing: the memory stays bit for bit as it is."""

    def cleared(leaf: Array, empty: float = 0.0) -> Array:
        several = leaf.ndim > write.query.ndim
        return jnp.where(flags[..., None] if several else flags, empty, leaf)

    gain = None if write.log_gain is None else cleared(write.log_gain, -jnp.inf)
    return jax.tree.map(cleared, write._replace(log_gain=None))._replace(log_gain=gain)


def without_bad_steps(
    write: Write,
) -> tuple[Write, Bool[Array, "*lead step 1"], Bool[Array, "*lead step 1"]]:
    """The write, finite but for decays and gains of −inf; which steps wrote something else, and
    which read with something else.

    Args:
        write: of every step, [*batch, *heads, step, ...].
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
    return nothing_where(bad, write._replace(query=jnp.where(unread, 0, write.query))), bad, unread


def lost_since(
    bad: Bool[Array, "*lead step 1"], part: Int[Array, "*lead step 1"] | None
) -> Bool[Array, "*lead step 1"]:
    """Where something bad was written since the last reset of the block."""
    seen = jnp.tri(bad.shape[-2], dtype=bool)
    if part is not None:
        seen = seen & (part == part.mT)
    return (seen & bad.mT).any(-1, keepdims=True)
