"""Attention to the last n entries, for all steps: blocks of n queries, each with the n entries
before it and its own, so that cost and memory are those of the band.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .history import History
from .positions import AbstractPositions


class Entry(NamedTuple):
    """What a step leaves in the window. `there` is 1; it is 0 where nothing entered yet."""

    key: Float[Array, "*places heads size"]
    value: Float[Array, "*places heads size"]
    there: Float[Array, "*places"]


def attend(
    positions: AbstractPositions,
    queries: Float[Array, "block queries heads size"],
    entries: Entry,
    visible: Bool[Array, "block queries keys"],
    at: tuple[Float[Array, "#block queries"], Float[Array, "#block keys"]],
) -> Float[Array, "block queries heads size"]:
    """softmax(q · k / √size + bias) v over the visible entries that are there.

    What is not finite is taken out before the products and put back into the outputs that see it: a
    product over a block would carry 0 · NaN to all of them.

    Args:
        positions: how queries and keys know of each other's place.
        queries: grouped by the heads of the entries, in order.
        entries: of each block, [block, keys, ...].
        visible: which entries a query may see.
        at: where the queries and the keys stand.
    """
    at_queries, at_keys = at
    visible = visible & (entries.there > 0)[:, None, :]
    lost, lost_entries = _bad(queries), _bad(entries.key) | _bad(entries.value)
    k, v = (_cleared(lost_entries, leaf) for leaf in (entries.key, entries.value))
    q = positions.turned(_cleared(lost, queries), at_queries)
    k = positions.turned(k, at_keys)
    grouped = q.reshape(*q.shape[:2], k.shape[2], -1, q.shape[-1])
    products = jnp.einsum("btgrd,bsgd->bgrts", grouped, k) / math.sqrt(q.shape[-1])
    bias = positions.bias(q.shape[2], at_queries[:, :, None] - at_keys[:, None, :])
    if bias is not None:
        products = products + bias.reshape(-1, *products.shape[1:])
    least = jnp.finfo(products.dtype).min  # not −∞: what fills up a block may see nothing
    weights = jax.nn.softmax(jnp.where(visible[:, None, None], products, least))
    shown = jnp.einsum("bgrts,bsgd->btgrd", weights, v).reshape(queries.shape)
    lost = lost | (visible & lost_entries[:, None, :]).any(-1)
    return jnp.where(lost[..., None, None], jnp.nan, shown)


def _bad(vectors: Float[Array, "*places heads size"]) -> Bool[Array, "*places"]:
    return ~jnp.isfinite(vectors).all((-2, -1))


def _cleared(bad: Bool[Array, "*places"], vectors: Array) -> Array:
    return jnp.where(bad[..., None, None], jnp.zeros_like(vectors), vectors)


def attend_over_time(
    positions: AbstractPositions, queries: Float[Array, "time heads size"], history: History
) -> Float[Array, "time heads size"]:
    """`attend` of every step to its window.

    A query is at n + i of its block, its window at i + 1 to n + i. Behind a reset, positions count
    from there, so that those of the initial window are negative, as they are without one.
    """
    n, time, dtype = history.size, history.time, queries.dtype
    length = min(n, time)
    blocks = -(-time // length)

    def filled(leaf: Array) -> Array:
        missing = blocks * length - time
        return jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1))

    def own(leaf: Array) -> Array:  # [block, length, ...]
        return filled(leaf).reshape(blocks, length, *leaf.shape[1:])

    def spans(leaf: Array) -> Array:  # [block, n + length, ...]
        if blocks == 1:
            return leaf[None]
        whole = filled(leaf).reshape(blocks + 1, n, *leaf.shape[1:])
        return jnp.concatenate([whole[:-1], whole[1:]], 1)

    query, key = jnp.arange(n, n + length), jnp.arange(n + length)
    back = query[:, None] - key
    visible = (back >= 0) & (back < n)
    entries = jax.tree.map(spans, history.entries)
    if history.steps_since_reset is None:
        visible = jnp.broadcast_to(visible, (blocks, *visible.shape))
        at = query[None], key[None]
    else:
        age = own(history.steps_since_reset)
        far = jnp.full((n,), 2 * n, age.dtype)
        # None of the initial window is in sight where more than a block has passed since.
        at_keys = jnp.minimum(spans(jnp.concatenate([far, history.steps_since_reset])), key)
        at_init = jnp.broadcast_to(jnp.arange(-n, 0), (blocks, n))
        at = jnp.minimum(age, query), jnp.concatenate([at_keys, at_init], 1)
        of_init = jnp.arange(n) > age[..., None]
        visible = jnp.concatenate([visible & (back <= age[..., None]), of_init], -1)
        entries = jax.tree.map(
            lambda leaf, init: jnp.concatenate(
                [leaf, jnp.broadcast_to(init, (blocks, *init.shape))], 1
            ),
            entries,
            history.init,
        )
    at = at[0].astype(dtype), at[1].astype(dtype)
    shown = attend(positions, own(queries), entries, visible, at)
    return shown.reshape(blocks * length, *queries.shape[1:])[:time]
