"""The rules of linear attention by seqmem's own writes and methods, as kernels."""

import jax
import jax.numpy as jnp
import numpy as np

import seqmem
from seqmem._cells.fast_weights.gated_delta_rule import gated_delta_rule
from seqmem._cells.fast_weights.gated_delta_rule_2 import gated_delta_rule_2
from seqmem._cells.fast_weights.mlstm import exponentially_gated, normalised
from tests.helpers.given_writes import GivenWrites


class GivenGains(GivenWrites):
    """An mLSTM whose inputs are its writes."""

    def output(self, reading, extra):
        return normalised(reading)


def delta(q, k, v, beta):
    return seqmem.Write(q, k, beta[..., None] * v, remove=beta[..., None] * k)


def gated_delta(q, k, v, g, beta):
    return gated_delta_rule(q, k, v, beta[..., None], g[..., None])


def kda(q, k, v, g, beta):
    return gated_delta_rule(q, k, v, beta[..., None], g)


def gdn2(q, k, v, g, b, w):
    return gated_delta_rule_2(q, k, v, b, w, g)


def gla(q, k, v, g):
    return seqmem.Write(q, k, v, g)


def simple_gla(q, k, v, g):
    return seqmem.Write(q, k, v, g[..., None])


def retention(q, k, v):
    log_gamma = jnp.log1p(-(2.0 ** (-5 - jnp.arange(q.shape[-2], dtype=q.dtype))))
    return seqmem.Write(q, k, v, jnp.broadcast_to(log_gamma[:, None], (*q.shape[:-1], 1)))


def rwkv7(q, k, v, w, a, b):
    return seqmem.Write(q, k, v, w, remove=-a, erase=b)


def mlstm(q, k, v, i, f):
    # It divides k by √(key size), by which q has been divided already.
    k = k * np.sqrt(k.shape[-1])
    return jax.vmap(jax.vmap(exponentially_gated))(q, k, v, i, f)


WRITES = {
    fn.__name__: fn
    for fn in (delta, gated_delta, kda, gdn2, gla, simple_gla, retention, rwkv7, mlstm)
}


def seqmem_kernel(rule, method):
    """`function(q, k, v, ...) -> (o, state)` in the axes of seqmem: [time, batch, heads, ...]."""

    def kernel(*, q, k, v, initial_state=None, lengths=None, resets=None, **gates):
        arrays = {"q": q, "k": k, "v": v} | gates
        if lengths is not None:
            arrays = without_padding(arrays, lengths)
        q, k, v = (arrays.pop(name) for name in "qkv")
        write = WRITES[rule](q * k.shape[-1] ** -0.5, k, v, **arrays)
        heads, key, value = k.shape[2], k.shape[3], write.value.shape[3]
        has_gains = write.log_gain is not None
        scale = jnp.zeros((heads, 1), q.dtype) if has_gains else None
        memory = seqmem.Memory(jnp.zeros((heads, value, key), q.dtype), scale)
        shapes = jax.tree.map(lambda leaf: leaf.shape[2:], write)
        cell = (GivenGains if has_gains else GivenWrites)(memory, shapes)
        state = None if initial_state is None else memory_of(initial_state)
        state, o = seqmem.unroll(cell, state, write, lengths=lengths, resets=resets, method=method)
        return o, state_of(state)

    return kernel


def without_padding(arrays, lengths):
    """0 in place of padding: `unroll` does not read it, but products of v and a gate do."""
    is_valid = jnp.arange(len(arrays["q"]))[:, None] < lengths
    return {
        name: jnp.where(is_valid.reshape(is_valid.shape + (1,) * (leaf.ndim - 2)), leaf, 0)
        for name, leaf in arrays.items()
    }


def memory_of(state):
    """The memory of a kernel's state."""
    if not isinstance(state, tuple):
        return seqmem.Memory(state.mT)
    C, n, m = state
    return seqmem.Memory(jnp.concatenate([C.mT, n[..., None, :]], -2), m[..., None])


def state_of(memory):
    """The inverse of `memory_of`."""
    if memory.log_scale is None:
        return memory.matrix.mT
    matrix = memory.matrix
    return matrix[..., :-1, :].mT, matrix[..., -1, :], memory.log_scale[..., 0]
