"""What one step of a fast-weight cell writes into its matrices.

    S_t = S_{t−1} diag(w_t) − (S_{t−1} r_t) e_tᵀ + v_t k_tᵀ        read as S_t q_t

What is removed is read before the decay, so that a cell multiplies by the decay where one that
reads after it would divide. Decays are logs, and stay logs until they are summed: −inf is a decay
to nothing.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._core.cell import AbstractCell
from ..._core.errors import bad_input

matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Write(NamedTuple):
    """What one step does to the matrices. What is None costs nothing.

    Leading axes are heads. A head axis of size 1 is shared by all heads. Several writes per step,
    one after the other, stand in an axis of their own before the last of all leaves but the query,
    which reads behind the last.
    """

    query: Float[Array, "*heads key"]  # q
    key: Float[Array, "*heads key"]  # k
    value: Float[Array, "*heads value"]  # v
    log_decay: Float[Array, "*heads key_or_1"] | None = None  # ln w, of a key channel or of a head
    remove: Float[Array, "*heads key"] | None = None  # r: what is read, and then taken out
    erase: Float[Array, "*heads key"] | None = None  # e: where it is taken out; None is the key
    log_gain: Float[Array, "*heads 1"] | None = None  # the value enters times exp(log_gain)


class Memory(NamedTuple):
    """The matrices S, one per head; with gains the state is exp(log_scale) · matrix."""

    matrix: Float[Array, "*heads value key"]
    log_scale: Float[Array, "*heads 1"] | None = None


def check_write(cell: AbstractCell, memory: Memory, write: Write) -> None:
    """Raise a `ValueError` where what a cell writes does not fit its memory, for one example."""
    name = type(cell).__name__
    matrix = memory.matrix.shape
    given = {own: leaf.shape for own, leaf in write._asdict().items() if leaf is not None}
    several = write.key.ndim > write.query.ndim
    channels = {"query": matrix[-1:], "key": matrix[-1:], "value": matrix[-2:-1], "log_gain": (1,)}
    channels |= {"remove": matrix[-1:], "erase": matrix[-1:], "log_decay": (1, matrix[-1])}
    axes = {own: len(matrix) - 1 + (several and own != "query") for own in given}
    fits = all(
        len(shape) == axes[own]
        and shape[-1] in channels[own]
        and all(a in (1, b) for a, b in zip(shape, matrix[:-2], strict=False))
        for own, shape in given.items()
    )
    if not fits:
        raise bad_input(
            f"{name} writes {given} into matrices of shape {matrix}, [*heads, value, key].",
            "a query, key, remove and erase of the keys' size, a value of the values', a log_decay "
            "of the keys' size or 1, a log_gain of 1; heads as the matrices', or 1; and an axis of "
            "several writes in all leaves but the query, or in none.",
            "give queries and keys one size, and init_state the same.",
        )
    if (write.log_gain is None) != (memory.log_scale is None):
        raise bad_input(
            f"{name} writes with log_gain {given.get('log_gain')} into a memory whose log_scale is "
            f"{None if memory.log_scale is None else memory.log_scale.shape}.",
            "a log_scale in the state of a cell with gains, and of no other.",
            "let init_state return Memory(matrix, zeros([*heads, 1])), or leave the gain out.",
        )
    per_channel = write.log_decay is not None and write.log_decay.shape[-1] > 1
    if write.log_gain is not None and (write.remove is not None or per_channel):
        raise bad_input(
            f"{name} writes {sorted(given)} at once, with log_decay {given.get('log_decay')}.",
            "a log_gain beside a decay per head, and nothing removed.",
            "put the gain into the value, where it cannot overflow.",
        )


def map_writes(fn: Callable, write: Write) -> Write:
    """`fn` of all leaves that may have an axis of writes: all but the query."""
    return jax.tree.map(fn, write._replace(query=None))._replace(query=write.query)


def apply_writes(memory: Memory, write: Write) -> Memory:
    """The memory after one step, which may write several times."""
    if write.key.ndim == write.query.ndim:
        return apply_write(memory, write)
    for i in range(write.key.shape[-2]):
        memory = apply_write(memory, map_writes(lambda leaf, i=i: leaf[..., i, :], write))
    return memory


def apply_write(memory: Memory, write: Write) -> Memory:
    """The memory after one write: the definition."""
    S, m = memory
    if m is not None:
        gain = 0.0 if write.log_gain is None else write.log_gain
        before = m
        m = jnp.maximum(m if write.log_decay is None else write.log_decay + m, gain)
        write = rescaled(write, before, m)
    new = S if write.log_decay is None else S * jnp.exp(write.log_decay)[..., None, :]
    if write.remove is not None:
        erase = write.key if write.erase is None else write.erase
        new = new - outer(matmul(S, write.remove[..., None])[..., 0], erase)
    return Memory(new + outer(write.value, write.key), m)


def outer(values: Array, keys: Array) -> Array:
    """values keysᵀ, as a product of matrices: so is its gradient, which is several times faster on
    a CPU than the sum of a product of entries.
    """
    return matmul(values[..., :, None], keys[..., None, :])


def rescaled(write: Write, before: Array, after: Array) -> Write:
    """The write, without a gain, into a matrix whose log scale goes from `before` to `after`, in
    which neither the decay nor what enters exceeds 1.
    """
    level = jnp.where(after == -jnp.inf, 0, after)  # nothing is in there: any scale will do
    decay = before - level if write.log_decay is None else write.log_decay + before - level
    gain = 0.0 if write.log_gain is None else write.log_gain
    value = jnp.exp(gain - level) * write.value
    return write._replace(value=value, log_decay=decay, log_gain=None)
