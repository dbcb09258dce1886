"""A fast-weight cell without parameters, and random writes of every kind that the family has."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import seqmem

HEADS, KEY, VALUE = 2, 3, 5


class GivenWrites(seqmem.AbstractFastWeightCell):
    """A cell whose inputs are the writes and whose outputs are the readings.

    `write_shape` is the shape of one write, or a `Write` of shapes.
    """

    learned: seqmem.Memory
    write_shape: Any = eqx.field(static=True, default=(None, None))

    @property
    def input_shape(self):
        return self.write_shape

    def init_state(self):
        return self.learned

    def project(self, x):
        return x, None

    def output(self, reading, extra):
        return reading


@dataclasses.dataclass(frozen=True)
class Kind:
    """Which fields a write has."""

    decay: str | None = None  # per "head" or per "channel"
    removes: str | None = None  # at the "key", or at an "other"
    has_gains: bool = False
    momentum: str | None = None  # added to the memory "whole", or at a "rate"
    num_writes: int | None = None
    num_key_heads: int = HEADS
    is_transposed: bool = False  # the query reads Sᵀ
    reads_before: bool = False  # the query reads before the write
    num_queries: int | None = None  # of a step


KINDS = {
    "plain": Kind(),
    "decay per head": Kind("head"),
    "decay per channel": Kind("channel"),
    "delta rule": Kind(None, "key"),
    "gated delta rule": Kind("head", "key"),
    "delta rule, decay per channel": Kind("channel", "key"),
    "removal elsewhere, decay per channel": Kind("channel", "other"),
    "several writes": Kind("head", "key", num_writes=3),
    "several writes, decay per channel": Kind("channel", "other", num_writes=2),
    "gains": Kind("head", has_gains=True),
    "gains without decay": Kind(None, has_gains=True),
    "shared keys": Kind("head", num_key_heads=1),
    "transposed": Kind(is_transposed=True),
    "transposed, decay per head": Kind("head", num_key_heads=1, is_transposed=True),
    "transposed, decay per channel": Kind("channel", is_transposed=True),
    "transposed delta rule, decay per channel": Kind("channel", "key", is_transposed=True),
    "transposed, several writes": Kind("channel", "other", num_writes=2, is_transposed=True),
    "transposed, gains": Kind("head", has_gains=True, is_transposed=True),
    "reading before, decay per channel": Kind("channel", reads_before=True),
    "reading before, shared keys": Kind("head", num_key_heads=1, reads_before=True),
    "several queries": Kind("channel", "key", num_queries=2),
    "several writes and queries": Kind("head", num_writes=3, num_queries=2),
    "gated delta rule, momentum": Kind("head", "key", momentum="whole"),
    "momentum": Kind(None, momentum="whole", num_key_heads=1),
    "several writes, momentum": Kind(None, "other", momentum="rate", num_writes=2),
    "transposed delta rule, momentum": Kind(None, "key", momentum="whole", is_transposed=True),
}


def gentle(rng, shape):
    """Log-decays near 0."""
    return -rng.exponential(0.1, shape)


def strong(rng, shape):
    """Log-decays that a quotient or a difference of cumulative sums does not survive."""
    return rng.choice([0.0, -0.1, -2000.0, -np.inf], shape, p=[0.3, 0.4, 0.15, 0.15])


def draw_cell(kind, draw_log_decay, time, batch, dtype=np.float64):
    """A cell with a learned initial memory, a state to start from, and writes."""
    lead, writes = (time, batch), () if kind.num_writes is None else (kind.num_writes,)
    queries = () if kind.num_queries is None else (kind.num_queries,)
    shared = (1,) * len(queries)  # the head axis that the queries have in place of the matrices
    rng = np.random.default_rng(3)

    def draw(heads, size, axes=(*shared, *writes)):
        return rng.normal(size=(*lead, heads, *axes, size))

    def draw_unit(heads):
        key = draw(heads, KEY)
        return key / np.linalg.norm(key, axis=-1, keepdims=True)

    key = draw_unit(kind.num_key_heads)
    query_size = VALUE if kind.is_transposed else KEY
    write = {"query": draw(kind.num_key_heads, query_size, queries), "key": key}
    write["value"] = draw(HEADS, VALUE)
    size = {None: 1, "head": 1, "channel": KEY}[kind.decay]
    log_decay = draw_log_decay(rng, (*lead, HEADS, *shared, *writes, size))
    if kind.decay:
        write["log_decay"] = log_decay
    if kind.removes == "key":
        # With momentum above 1 the memory can grow without bound.
        beta = rng.uniform(0, 1 if kind.momentum else 2, (*lead, HEADS, *shared, *writes, 1))
        write["remove"] = beta * (np.exp(log_decay) if kind.decay else 1) * key
    if kind.removes == "other":
        other = draw_unit(HEADS)
        write |= {"remove": np.exp(log_decay) * other, "erase": rng.uniform(0, 1) * other}
    if kind.reads_before:
        write["reads_before"] = np.ones((*lead, 1, 1))
    log_scale = None
    if kind.has_gains:
        write["log_gain"] = 3 * draw(HEADS, 1)
        log_scale = rng.normal(size=(HEADS, 1))
    if kind.is_transposed:
        write["reading"] = seqmem.Transposed()
    if kind.momentum:
        write["log_momentum"] = draw_log_decay(rng, (*lead, HEADS, *shared, *writes, 1))
    if kind.momentum == "rate":
        write["momentum_rate"] = rng.uniform(0, 1, (*lead, HEADS, *shared, *writes, 1))
    sizes = VALUE, 2 * KEY if kind.momentum else KEY + kind.reads_before
    memory = seqmem.Memory(rng.normal(size=(HEADS, *shared, *sizes)), log_scale)
    state = jax.tree.map(lambda leaf: rng.normal(size=(batch, *leaf.shape)), memory)
    memory, state, write = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype), (memory, state, seqmem.Write(**write))
    )
    shapes = jax.tree.map(lambda leaf: (None,) * (leaf.ndim - 2), write)
    return GivenWrites(memory, shapes), state, write
