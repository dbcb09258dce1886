"""Banded attention: softmax attention of every step to the last n entries, for all steps at once.

Time is cut into blocks of n queries. A block attends to the entries in it and to the n before it,
so that cost and memory grow as time · n.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..attention.attend import attend
from ..attention.positions import AbstractPositions
from .history import History


class Entry(NamedTuple):
    """The entry of one step in a window. `valid` is 1; 0 before the first step."""

    key: Float[Array, "*steps heads size"]
    value: Float[Array, "*steps heads size"]
    valid: Float[Array, "*steps"]


def attend_sequence(
    encoding: AbstractPositions, queries: Float[Array, "time heads size"], history: History
) -> Float[Array, "time heads size"]:
    """`attend` of every step to its window, with queries that are scaled.

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
        positions, axis = (query, key), None  # the same in every block
    else:
        since_reset = blocks.queries_of(history.steps_since_reset)
        visible = visible & (distance <= since_reset[..., None])
        visible = jnp.concatenate([visible, blocks.visible_init(since_reset)], -1)
        entries = jax.tree.map(blocks.append_init, entries, history.init)
        key_positions = blocks.key_positions(history.steps_since_reset)
        positions, axis = (jnp.minimum(since_reset, query), key_positions), 0
    attend_block = functools.partial(attend_window, encoding)
    outputs = jax.vmap(attend_block, in_axes=(0, 0, 0, axis, axis))(
        blocks.queries_of(queries), entries, visible, *positions
    )
    return outputs.reshape(-1, *queries.shape[1:])[: history.time]


def attend_window(
    encoding: AbstractPositions,
    queries: Float[Array, "queries heads size"],
    entries: Entry,
    visible: Bool[Array, "queries keys"],
    query_positions: Int[Array, " queries"],
    key_positions: Int[Array, " keys"],
) -> Float[Array, "queries heads size"]:
    """`attend` to the valid ones of some entries, with the positions encoded."""
    at_queries, at_keys = (leaf.astype(queries.dtype) for leaf in (query_positions, key_positions))
    return attend(
        encoding.encode(queries, at_queries),
        encoding.encode(entries.key, at_keys),
        entries.value,
        visible & (entries.valid > 0),
        encoding.bias(queries.shape[1], at_queries[:, None] - at_keys),
    )


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
