"""Banded attention: softmax attention of every step to the last n entries, for all steps at once.

Time is cut into blocks of n queries. A block attends to the entries in it and to the n before it,
so that cost and memory grow as time · n.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .history import History
from .positions import AbstractPositions


class Entry(NamedTuple):
    """The entry of one step in a window. `valid` is 1; 0 before the first step."""

    key: Float[Array, "*steps heads size"]
    value: Float[Array, "*steps heads size"]
    valid: Float[Array, "*steps"]


def attend(
    encoding: AbstractPositions,
    queries: Float[Array, "block queries heads size"],
    entries: Entry,
    visible: Bool[Array, "block queries keys"],
    query_positions: Float[Array, "#block queries"],
    key_positions: Float[Array, "#block keys"],
) -> Float[Array, "block queries heads size"]:
    """softmax(q · k / √size + bias) v over the entries that are visible and valid.

    Entries that are not finite are replaced by zeros in the products, and the outputs that see them
    become NaN: otherwise 0 · NaN would reach every output of the block.

    Args:
        encoding: how positions enter.
        queries: grouped by the heads of the entries, in order.
        entries: those of each block, [block, keys, ...].
        visible: which entries a query may see.
        query_positions: the positions of the queries.
        key_positions: the positions of the entries.
    """
    visible = visible & (entries.valid > 0)[:, None, :]
    bad_queries = _is_nonfinite(queries)
    bad_entries = _is_nonfinite(entries.key) | _is_nonfinite(entries.value)
    k, v = (_zero_where(bad_entries, leaf) for leaf in (entries.key, entries.value))
    q = encoding.encode(_zero_where(bad_queries, queries), query_positions)
    k = encoding.encode(k, key_positions)
    grouped = q.reshape(*q.shape[:2], k.shape[2], -1, q.shape[-1])
    products = jnp.einsum("btgrd,bsgd->bgrts", grouped, k) / math.sqrt(q.shape[-1])
    bias = encoding.bias(q.shape[2], query_positions[:, :, None] - key_positions[:, None, :])
    if bias is not None:
        products = products + bias.reshape(-1, *products.shape[1:])
    lowest = jnp.finfo(products.dtype).min  # not −∞: the queries after the last step see no entry
    weights = jax.nn.softmax(jnp.where(visible[:, None, None], products, lowest))
    outputs = jnp.einsum("bgrts,bsgd->btgrd", weights, v).reshape(queries.shape)
    bad_outputs = bad_queries | (visible & bad_entries[:, None, :]).any(-1)
    return jnp.where(bad_outputs[..., None, None], jnp.nan, outputs)


def _is_nonfinite(vectors: Float[Array, "*steps heads size"]) -> Bool[Array, "*steps"]:
    return ~jnp.isfinite(vectors).all((-2, -1))


def _zero_where(flags: Bool[Array, "*steps"], vectors: Array) -> Array:
    return jnp.where(flags[..., None, None], jnp.zeros_like(vectors), vectors)


def attend_sequence(
    encoding: AbstractPositions, queries: Float[Array, "time heads size"], history: History
) -> Float[Array, "time heads size"]:
    """`attend` of every step to its window.

    In a block of n queries, query i has position n + i, and its window has positions i + 1 to
    n + i. After a reset, positions count from the reset; those of the initial window are negative.
    """
    blocks = _Blocks(history.size, history.time)
    query, key = jnp.arange(blocks.n, blocks.n + blocks.length), jnp.arange(blocks.keys)
    distance = query[:, None] - key
    visible = (distance >= 0) & (distance < blocks.n)
    entries = jax.tree.map(blocks.keys_of, history.entries)
    if history.steps_since_reset is None:
        visible = jnp.broadcast_to(visible, (blocks.count, *visible.shape))
        positions = query[None], key[None]
    else:
        since_reset = blocks.queries_of(history.steps_since_reset)
        visible = visible & (distance <= since_reset[..., None])
        visible = jnp.concatenate([visible, blocks.visible_init(since_reset)], -1)
        entries = jax.tree.map(blocks.append_init, entries, history.init)
        positions = jnp.minimum(since_reset, query), blocks.key_positions(history.steps_since_reset)
    outputs = attend(
        encoding,
        blocks.queries_of(queries),
        entries,
        visible,
        *(leaf.astype(queries.dtype) for leaf in positions),
    )
    return outputs.reshape(-1, *queries.shape[1:])[: history.time]


class _Blocks(NamedTuple):
    """Time in blocks of n queries (one shorter block where time is below n)."""

    n: int
    time: int

    @property
    def length(self) -> int:
        """The queries of a block."""
        return min(self.n, self.time)

    @property
    def keys(self) -> int:
        """The entries that a block attends to: n before the block, and those in it."""
        return self.n + self.length

    @property
    def count(self) -> int:
        """The number of blocks."""
        return -(-self.time // self.length)

    def _pad(self, leaf: Array) -> Array:
        missing = self.count * self.length - self.time
        return jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1))

    def queries_of(self, leaf: Array) -> Array:
        """[time, ...] as [block, length, ...]."""
        return self._pad(leaf).reshape(self.count, self.length, *leaf.shape[1:])

    def keys_of(self, leaf: Array) -> Array:
        """[n + time, ...] as [block, n + length, ...]: consecutive blocks overlap by n."""
        if self.count == 1:
            return leaf[None]
        halves = self._pad(leaf).reshape(self.count + 1, self.n, *leaf.shape[1:])
        return jnp.concatenate([halves[:-1], halves[1:]], 1)

    def append_init(self, entries: Array, init: Array) -> Array:
        """The entries of each block, then those of the initial window."""
        copies = jnp.broadcast_to(init, (self.count, *init.shape))
        return jnp.concatenate([entries, copies], 1)

    def visible_init(self, since_reset: Int[Array, "block queries"]) -> Bool[Array, "..."]:
        """Which entries of the initial window a query sees: the last n − 1 − since_reset."""
        return jnp.arange(self.n) > since_reset[..., None]

    def key_positions(self, steps_since_reset: Int[Array, " time"]) -> Int[Array, "block keys"]:
        """The positions of a block's entries, counted from the last reset before each, and those of
        the initial window.
        """
        before_first = jnp.full((self.n,), 2 * self.n, steps_since_reset.dtype)
        since_reset = jnp.concatenate([before_first, steps_since_reset])
        positions = jnp.minimum(self.keys_of(since_reset), jnp.arange(self.keys))
        init = jnp.broadcast_to(jnp.arange(-self.n, 0), (self.count, self.n))
        return jnp.concatenate([positions, init], 1)
