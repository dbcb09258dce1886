"""Memories that are matrices, each as seqmem runs it, as a scan written by hand, and in memax.

One head of 64 channels, where nothing else is asked for. The writes are inputs, so that nothing but
the memory is measured.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

import seqmem

SIZE = 64  # channels of the head
RULES = ("retention", "GLA", "delta", "gated delta", "KDA", "RWKV-7")
HIGHEST = jax.lax.Precision.HIGHEST


class MemoryOnly(seqmem.AbstractFastWeightCell):
    """A memory without projections: its inputs are the writes, its outputs the readings.

    The shapes of one write are its `input_shape`.
    """

    input_shape: Any = eqx.field(static=True)

    def init_state(self) -> seqmem.Memory:
        num_heads, size = self.input_shape.query
        return seqmem.Memory(jnp.zeros((num_heads, size, size)))

    def project(self, x: seqmem.Write) -> tuple[seqmem.Write, None]:
        return x, None

    def output(self, reading: Array, extra: None) -> Array:
        return reading


def random_writes(
    rule: str, time: int, batch: int, num_heads: int = 1, size: int = SIZE
) -> seqmem.Write:
    """Writes of a rule, [time, batch, heads, channels]."""
    keys = jax.random.split(jax.random.key(0), 6)

    def normal(i: int, size: int = size) -> Array:
        return jax.random.normal(keys[i], (time, batch, num_heads, size))

    q, k, v, beta = normal(0), _unit(normal(1)), normal(2), jax.nn.sigmoid(normal(3, 1))
    per_head, per_channel = (-jax.nn.softplus(normal(4, size)) for size in (1, size))
    return {
        "retention": seqmem.Write(q, k, v, per_head),
        "GLA": seqmem.Write(q, k, v, per_channel),
        "delta": seqmem.Write(q, k, beta * v, remove=beta * k),
        "gated delta": seqmem.Write(q, k, beta * v, per_head, remove=beta * jnp.exp(per_head) * k),
        "KDA": seqmem.Write(q, k, beta * v, per_channel, remove=beta * jnp.exp(per_channel) * k),
        "RWKV-7": seqmem.Write(q, k, v, per_channel, remove=_unit(normal(5)), erase=beta * k),
    }[rule]


def _unit(x: Array) -> Array:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def seqmem_readings(writes: seqmem.Write, method: seqmem.AbstractMethod | None = None) -> Array:
    """By a method of seqmem; the default is `Parallel()`."""
    cell = MemoryOnly(jax.tree.map(lambda leaf: leaf.shape[2:], writes))
    return seqmem.unroll(cell, None, writes, method=method)[1]


def scan_readings(writes: seqmem.Write) -> Array:
    """The recurrence as one writes it by hand: a scan over time, mapped over the batch."""

    def step(S: Array, write: seqmem.Write) -> tuple[Array, Array]:
        q, k, v, log_decay, remove, erase, _ = write
        decayed = S if log_decay is None else S * jnp.exp(log_decay)[:, None, :]
        if remove is not None:
            removed = jnp.einsum("hvk,hk->hv", S, remove, precision=HIGHEST)
            decayed = decayed - jnp.einsum("hv,hk->hvk", removed, k if erase is None else erase)
        S = decayed + jnp.einsum("hv,hk->hvk", v, k)
        return S, jnp.einsum("hvk,hk->hv", S, q, precision=HIGHEST)

    def one_example(writes: seqmem.Write) -> Array:
        return jax.lax.scan(step, jnp.zeros((1, SIZE, SIZE)), writes)[1]

    return jax.vmap(one_example, in_axes=1, out_axes=1)(writes)


def attention(writes: seqmem.Write) -> Array:
    """Causal softmax attention with the same queries, keys and values."""
    q, k, v = (leaf.swapaxes(0, 1) for leaf in writes[:3])
    return jax.nn.dot_product_attention(q, k, v, is_causal=True).swapaxes(0, 1)


def memax_delta() -> tuple[Any, Callable[[Any, Array], Array]]:
    """memax's layer of the delta rule, and a function that runs it.

    The layer has projections, and other numbers: it erases on the wrong side of the matrix.
    """
    from memax.equinox.semigroups.delta import DeltaNet

    layer = DeltaNet(SIZE, SIZE, key=jax.random.key(0))

    def run(layer: Any, xs: Array) -> Array:
        starts = jnp.zeros(len(xs), bool)
        return layer(layer.initialize_carry(), (xs, starts))[1]

    return layer, run
