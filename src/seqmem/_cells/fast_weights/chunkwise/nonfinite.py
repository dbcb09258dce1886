"""NaN and infinity, taken out of a block and put back where a loop of single steps has them.

A product over a whole block carries 0 · NaN across resets, and back in time. So a bad write is
replaced by none, and from there to the next reset every reading is NaN. What overflows within a
block, from finite writes, is not seen.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..write import Write, matmul
from .chunk import Block, Resets


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


def passed_through(
    S: Float[Array, "*lead value key"],
    block: Block,
    bad: Bool[Array, "*lead step 1"],
    resets: Resets | None,
) -> tuple[Array, Array, Bool[Array, "*lead step 1"]]:
    """The matrix after a block, what is read in it, and which readings are lost.

    A matrix that is lost is NaN behind the block, and 0 within, where 0 · NaN would reach what it
    must not.

    Args:
        S: the matrix before the block.
        block: what it does.
        bad: after which steps of it nothing is known.
        resets: after which all is known again.
    """
    lost_before = ~jnp.isfinite(S).all((-2, -1), keepdims=True)
    S = jnp.where(lost_before, 0, S)
    seen = jnp.tri(bad.shape[-2], dtype=bool)
    if resets is not None:
        seen = seen & (resets.part == resets.part.mT)
        lost_before = lost_before & (resets.part == 0)
    lost = (seen & bad.mT).any(-1, keepdims=True) | lost_before
    after = S if block.P is None else S * block.P if block.P.shape[-2] == 1 else matmul(S, block.P)
    if resets is not None:
        after = jnp.where(resets.part[..., -1:, :] > 0, 0, after)
    after = jnp.where(lost[..., -1:, :], jnp.nan, after + block.R)
    return after, matmul(block.Q, S.mT) + block.Y_0, lost
