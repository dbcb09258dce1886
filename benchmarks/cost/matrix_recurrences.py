"""Memories that are matrices, each as seqmem runs it, as a scan written by hand, and in memax.

One head of 64 channels, where nothing else is asked for. The writes are inputs, so that nothing but
the memory is measured.
"""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

import seqmem

SIZE = 64  # channels of the head
GATES = {
    "retention": ("g",),
    "GLA": ("g",),
    "delta": ("beta",),
    "gated delta": ("g", "beta"),
    "KDA": ("g", "beta"),
    "gated delta 2": ("g", "b", "w"),
    "RWKV-7": ("g", "beta", "r"),
    "RWKV-6": ("g",),
    "Comba": ("g", "beta"),
    "gated Oja": ("g", "beta"),
    "Mamba-3, rank 2": ("g", "k2", "v2"),
    "delta with momentum": ("g", "beta", "eta"),
    "Mesa": ("g", "beta"),
}
RULES = tuple(GATES)
# Rules with one decay for all channels of a head.
ONE_DECAY = (
    *("retention", "gated delta", "Comba", "Mamba-3, rank 2"),
    *("delta with momentum", "Mesa"),
)
RIDGE = 1.0  # of Mesa
HIGHEST = jax.lax.Precision.HIGHEST


class MemoryOnly(seqmem.AbstractFastWeightCell):
    """A memory without projections: its inputs are the writes, its outputs the readings.

    The shapes of one write are its `input_shape`.
    """

    input_shape: Any = eqx.field(static=True)

    def init_state(self) -> seqmem.Memory:
        num_heads, key_size = self.input_shape.query[0], self.input_shape.key[-1]
        columns = key_size + (self.input_shape.reads_before is not None)
        if self.input_shape.log_momentum is not None:
            columns = 2 * key_size
        return seqmem.Memory(jnp.zeros((num_heads, self.input_shape.value[-1], columns)))

    def project(self, x: seqmem.Write) -> tuple[seqmem.Write, None]:
        return x, None

    def output(self, reading: Array, extra: None) -> Array:
        return reading


class MesaOnly(MemoryOnly):
    """The same, read by 30 steps of conjugate gradients: G (H + I)⁻¹ q, with S = [H; G]."""

    def read(self, memory: seqmem.MemoryView, query: Array) -> Array:
        H, G = memory.split(query.shape[-1])
        return G.read(seqmem.ConjugateGradients(30).solve(H, jnp.full((1, 1), RIDGE), query))


def random_writes(
    rule: str, time: int, batch: int, num_heads: int = 1, size: int = SIZE
) -> seqmem.Write:
    """Writes of a rule, [time, batch, heads, channels]."""
    return write_of(rule, random_inputs(rule, time, batch, num_heads, size))


def random_inputs(
    rule: str, time: int, batch: int, num_heads: int = 1, size: int = SIZE
) -> dict[str, Array]:
    """Queries q, keys k, values v and the gates of a rule, [time, batch, heads, channels].

    The gates: g, a log-decay; beta, what is written and removed of a value; b and w, the same per
    key channel and per value channel; r, the key that RWKV-7 removes; k2 and v2, the second key and
    value of a step; eta, the logarithm of the momentum.
    """
    keys = jax.random.split(jax.random.key(0), 8)

    def normal(i: int, size: int = size) -> Array:
        return jax.random.normal(keys[i], (time, batch, num_heads, size))

    inputs = {"q": normal(0), "k": _unit(normal(1)), "v": normal(2)}
    for name in GATES[rule]:
        if name == "g":
            inputs[name] = -jax.nn.softplus(normal(4, 1 if rule in ONE_DECAY else size))
        elif name == "eta":
            inputs[name] = -jax.nn.softplus(normal(5, 1))
        elif name in ("r", "k2"):
            inputs[name] = _unit(normal(5))
        elif name == "v2":
            inputs[name] = normal(6)
        else:
            gate = {"beta": (3, 1), "b": (3, size), "w": (5, size)}[name]
            inputs[name] = jax.nn.sigmoid(normal(*gate))
    return inputs


def write_of(rule: str, inputs: Mapping[str, Array]) -> seqmem.Write:
    """The write that a rule makes of its queries, keys, values and gates."""
    q, k, v = (inputs[name] for name in "qkv")
    g, beta = inputs.get("g"), inputs.get("beta")
    if rule in ("retention", "GLA"):
        return seqmem.Write(q, k, v, g)
    if rule == "gated delta 2":
        return seqmem.Write(q, k, inputs["w"] * v, g, remove=inputs["b"] * jnp.exp(g) * k)
    if rule == "RWKV-7":
        return seqmem.Write(q, k, v, g, remove=inputs["r"], erase=beta * k)
    if rule == "RWKV-6":
        return seqmem.Write(q, k, v, g, reads_before=jnp.ones_like(q[..., :1]))
    if rule == "Comba":  # removes half of what the delta rule removes
        return seqmem.Write(q, k, beta * v, g, remove=0.5 * beta * jnp.exp(g) * k)
    if rule == "gated Oja":  # a value takes the place of a key
        removal = beta * jnp.exp(g) * k
        return seqmem.Write(q, k, beta * v, g, remove=removal, reading=seqmem.Transposed())
    if rule == "Mamba-3, rank 2":
        pairs = ((k, inputs["k2"]), (v, inputs["v2"]), (g, jnp.zeros_like(g)))
        return seqmem.Write(q, *(jnp.stack(pair, -2) for pair in pairs))
    if rule == "delta with momentum":
        return seqmem.Write(q, k, beta * v, g, remove=beta * k, log_momentum=inputs["eta"])
    if rule == "Mesa":
        return seqmem.Write(q, beta * k, jnp.concatenate([k, v], -1), g)
    remove = beta * k if g is None else beta * jnp.exp(g) * k
    return seqmem.Write(q, k, beta * v, g, remove=remove)


def _unit(x: Array) -> Array:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def seqmem_readings(writes: seqmem.Write, method: seqmem.AbstractMethod | None = None) -> Array:
    """By a method of seqmem; the default is `Parallel()`."""
    cell_type = MesaOnly if is_mesa(writes) else MemoryOnly
    cell = cell_type(jax.tree.map(lambda leaf: leaf.shape[2:], writes))
    return seqmem.unroll(cell, None, writes, method=method)[1]


def is_mesa(writes: seqmem.Write) -> bool:
    """Whether the values are a key and a value, as those of Mesa alone."""
    return writes.value.shape[-1] > writes.key.shape[-1]


def scan_readings(writes: seqmem.Write) -> Array:
    """The recurrence as one writes it by hand: a scan over time, mapped over the batch."""

    def step(memory: tuple[Array, Array], write: seqmem.Write) -> tuple[Any, Array]:
        S, M = memory
        before = S
        if write.key.ndim == 2:
            S, M = change(S, M, write)
        else:  # several writes of a step
            for i in range(write.key.shape[1]):
                S, M = change(S, M, seqmem.Write(write.query, *(x[:, i] for x in write[1:4])))
        return (S, M), read(before if write.reads_before is not None else S, write)

    def change(S: Array, M: Array, write: seqmem.Write) -> tuple[Array, Array]:
        _, k, v, log_decay, remove, erase = write[:6]
        decayed = S if log_decay is None else S * jnp.exp(log_decay)[:, None, :]
        added = jnp.einsum("hv,hk->hvk", v, k)
        if remove is not None:
            removed = jnp.einsum("hvk,hk->hv", S, remove, precision=HIGHEST)
            added -= jnp.einsum("hv,hk->hvk", removed, k if erase is None else erase)
        if write.log_momentum is None:
            return decayed + added, M
        M = M * jnp.exp(write.log_momentum)[:, None, :] + added
        return decayed + M, M

    def read(S: Array, write: seqmem.Write) -> Array:
        q = write.query
        if write.reading is not None:
            return jnp.einsum("hvk,hv->hk", S, q, precision=HIGHEST)
        if is_mesa(write):
            H, S = S[:, : q.shape[-1]], S[:, q.shape[-1] :]
            q = jnp.linalg.solve(H + RIDGE * jnp.eye(q.shape[-1]), q[..., None])[..., 0]
        return jnp.einsum("hvk,hk->hv", S, q, precision=HIGHEST)

    def one_example(writes: seqmem.Write) -> Array:
        S = jnp.zeros((1, writes.value.shape[-1], writes.key.shape[-1]))
        M = jnp.zeros_like(S) if writes.log_momentum is not None else jnp.zeros(0)
        return jax.lax.scan(step, (S, M), writes)[1]

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
