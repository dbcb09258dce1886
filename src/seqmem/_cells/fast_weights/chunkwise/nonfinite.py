"""NaN and infinity: taken out of the writes of a chunk, and put back where a loop of single steps
has them.

A product over a chunk spreads 0 · NaN across resets, and backwards in time. So a write that is not
finite is replaced by an empty one, and all readings of its head from there to the next reset become
NaN, where a loop may lose some rows or columns of the matrix only. A matrix that overflows within a
chunk, from finite writes, is not detected.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..write import Write, matmul
from .chunk import Chunk
from .retention import Resets


def mask_writes(mask: Bool[Array, "*lead step 1"], write: Write) -> Write:
    """The writes, empty where the mask is set: there the memory stays the same, bit for bit."""

    def clear(leaf: Array, empty: float = 0.0) -> Array:
        has_several_writes = leaf.ndim > write.query.ndim
        return jnp.where(mask[..., None] if has_several_writes else mask, empty, leaf)

    gain = None if write.log_gain is None else clear(write.log_gain, -jnp.inf)
    if write.log_momentum is not None and write.momentum_rate is None:  # cleared to 0: S stays
        write = write._replace(momentum_rate=jnp.ones_like(write.log_momentum))
    return jax.tree.map(clear, write._replace(log_gain=None))._replace(log_gain=gain)


def strip_nonfinite(
    write: Write,
) -> tuple[Write, Bool[Array, "*lead step 1"], Bool[Array, "*lead step 1"]]:
    """The writes, finite but for decays and gains of −inf; at which steps the write was not
    finite, and at which the query was not.

    Args:
        write: of every step, [*batch, *heads, step, ...].
    """
    axes = write.query.ndim

    def is_nonfinite(leaf: Array, *, is_log: bool = False) -> Array:
        bad = jnp.isnan(leaf) | (leaf == jnp.inf) if is_log else ~jnp.isfinite(leaf)
        return bad.any(tuple(range(axes - 1, leaf.ndim)))[..., None]

    bad_query = is_nonfinite(write.query)
    without_query = write._replace(query=None).arrays
    heads = jnp.broadcast_shapes(*(leaf.shape[: axes - 2] for leaf in without_query.values()))
    bad_write = jnp.zeros((*heads, write.query.shape[-2], 1), bool)
    for name, leaf in without_query.items():
        bad_write = bad_write | is_nonfinite(leaf, is_log=name.startswith("log"))
    write = write._replace(query=jnp.where(bad_query, 0, write.query))
    return mask_writes(bad_write, write), bad_write, bad_query


def apply_chunk(
    S: Float[Array, "*lead value key"],
    chunk: Chunk,
    bad_write: Bool[Array, "*lead step 1"],
    resets: Resets | None,
) -> tuple[Array, Array, Bool[Array, "*lead step 1"]]:
    """The matrix after a chunk, its readings, and which readings have to be NaN.

    Args:
        S: the matrix before the chunk.
        chunk: the chunk.
        bad_write: at which steps the write was not finite.
        resets: the resets of the chunk.
    """
    is_lost_before = ~jnp.isfinite(S).all((-2, -1), keepdims=True)
    S = jnp.where(is_lost_before, 0, S)  # 0 · NaN would reach the readings after a reset
    is_lost = lost_steps(is_lost_before, bad_write, resets)
    new_S = S
    if chunk.P is not None:
        is_diagonal = chunk.P.shape[-2] == 1
        new_S = S * chunk.P if is_diagonal else matmul(S, chunk.P)
    if resets is not None:
        new_S = jnp.where(resets.count[..., -1:, :] > 0, 0, new_S)
    new_S = jnp.where(is_lost[..., -1:, :], jnp.nan, new_S + chunk.R)
    return new_S, chunk.reading.of(S), is_lost


def lost_steps(
    is_lost_before: Bool[Array, "*lead 1 1"],
    bad_write: Bool[Array, "*lead step 1"],
    resets: Resets | None,
) -> Bool[Array, "*lead step 1"]:
    """After which steps of a chunk the matrix is not finite: after a bad write, or where it was so
    before the chunk, until the next reset.
    """
    is_earlier = jnp.tri(bad_write.shape[-2], dtype=bool)
    if resets is not None:
        is_earlier = is_earlier & (resets.count == resets.count.mT)
        is_lost_before = is_lost_before & (resets.count == 0)
    return (is_earlier & bad_write.mT).any(-1, keepdims=True) | is_lost_before
