"""Writes: what one step of a fast-weight cell does to its matrices.

    S_t = S_{t−1} diag(w_t) − (S_{t−1} r_t) e_tᵀ + v_t k_tᵀ        read as S_t q_t, or as S_tᵀ q_t

The removed value S_{t−1} r_t is read before the decay, so that a cell multiplies r by the decay
where reading after the decay would divide by it. A decay is given as its logarithm; −inf is a decay
of 0.

A memory whose value channels decay is the transpose of one whose key channels do. So its cell
writes values as keys and keys as values, and reads from the other side: S_tᵀ q_t.

With momentum, what a step changes goes into a second matrix M, and M into S:

    M_t = η_t M_{t−1} − (S_{t−1} r_t) e_tᵀ + v_t k_tᵀ,    S_t = w_t S_{t−1} + ρ_t M_t
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._core.errors import bad_input

matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Transposed:
    """The mark of a `Write` whose query has the size of a value, and reads Sᵀ q, [*heads, key]."""


class Write(NamedTuple):
    """What one step does to the matrices. A field that is None costs nothing.

    Leading axes are heads; a head axis of size 1 is shared by all heads. A step may write several
    times, one after another: then every field but the query has an axis of writes before its last
    axis, and the query reads after the last write. It may also read several times: where the
    matrices have a head axis of size 1, the query may have any number, the queries of one step,
    and the reading has as many values.

    With `reads_before`, which is 1, the query reads S_{t−1}. The memory then has one column more
    than there are keys, which holds this reading: what a cell shows is a function of its new state.
    """

    query: Float[Array, "*heads_and_queries key"]  # q; of the value size to read Sᵀ
    key: Float[Array, "*heads key"]  # k
    value: Float[Array, "*heads value"]  # v
    log_decay: Float[Array, "*heads key_or_1"] | None = None  # ln w, per key channel or per head
    remove: Float[Array, "*heads key"] | None = None  # r: reads the value that is removed
    erase: Float[Array, "*heads key"] | None = None  # e: the key it is removed from; None: k
    log_gain: Float[Array, "*heads 1"] | None = None  # the value is multiplied by exp(log_gain)
    log_momentum: Float[Array, "*heads 1"] | None = None  # ln η; None: a matrix without momentum
    momentum_rate: Float[Array, "*heads 1"] | None = None  # ρ: of M that is added to S; None: 1
    reading: Transposed | None = None  # of S_tᵀ; None: of S_t
    reads_before: Float[Array, "*heads 1"] | None = None  # 1: the query reads before the write

    @property
    def arrays(self) -> dict[str, Array]:
        """The fields that are arrays, by name."""
        fields = self._replace(reading=None)._asdict()
        return {name: field for name, field in fields.items() if field is not None}


class Memory(NamedTuple):
    """The matrices S, one per head. With gains, S is exp(log_scale) · matrix. Where queries read
    before the write, the last column is no part of S but the last reading. With momentum, the
    matrix is [S M], side by side in its last axis, of twice the key size.
    """

    matrix: Float[Array, "*heads value key"]
    log_scale: Float[Array, "*heads 1"] | None = None


def check_write(cell: Any, memory: Memory, write: Write) -> None:
    """Refuse a write of one example that does not fit the memory.

    Raises:
        ValueError: for a wrong shape, a gain without a scale, or fields that cannot be combined.
    """
    name = type(cell).__name__
    matrix = memory.matrix.shape
    shapes = {field: leaf.shape for field, leaf in write.arrays.items()}
    has_several_writes = write.key.ndim > write.query.ndim
    has_momentum = write.log_momentum is not None
    key_size = matrix[-1] / 2 if has_momentum else matrix[-1] - (write.reads_before is not None)
    sizes: dict[str, tuple[float, ...]] = {"value": matrix[-2:-1]}
    sizes |= dict.fromkeys(("key", "remove", "erase"), (key_size,))
    sizes["query"] = sizes["key" if write.reading is None else "value"]
    sizes["log_decay"] = (1,) if has_momentum else (1, key_size)
    sizes |= dict.fromkeys(("log_gain", "log_momentum", "momentum_rate", "reads_before"), (1,))
    axes = {field: len(matrix) - 1 + (has_several_writes and field != "query") for field in shapes}
    may_read_several = write.reads_before is None
    fits = all(
        len(shape) == axes[field]
        and shape[-1] in sizes[field]
        and all(
            a in (1, b) or (field == "query" and b == 1 and may_read_several)
            for a, b in zip(shape, matrix[:-2], strict=False)
        )
        for field, shape in shapes.items()
    )
    if not fits:
        raise bad_input(
            f"{name} writes {shapes} into matrices of shape {matrix}, [*heads, value, key].",
            "query, key, remove and erase of the key size, value of the value size, log_decay of "
            "the key size or 1, log_gain and reads_before of size 1; a query of the value size "
            "where the reading is transposed; the matrices' heads, or 1, and several queries only "
            "where the matrices have a head axis of size 1 and the query reads after the write; an "
            "axis of several writes in all fields but the query, or in none; and matrices with one "
            "column more than keys where the query reads before the write. With log_momentum, of "
            "size 1, the matrices have twice the key size and log_decay has size 1.",
            "give queries and keys one size, and init_state the same, or with momentum twice that; "
            "for several queries let init_state return matrices of shape [*heads, 1, value, key].",
        )
    others = (write.remove, write.log_gain, write.log_momentum, write.reading)
    if not cell.reads_once and any(field is not None for field in others):
        raise bad_input(
            f"{name} has a read of its own, and writes {sorted(shapes)}, read {write.reading}.",
            "writes without remove, log_gain, log_momentum and reading, where the memory is read "
            "again.",
            "leave out read, or these fields.",
        )
    if (write.log_gain is None) != (memory.log_scale is None):
        raise bad_input(
            f"{name} writes with log_gain {shapes.get('log_gain')} into a memory whose log_scale "
            f"is {None if memory.log_scale is None else memory.log_scale.shape}.",
            "a log_scale in the state of a cell with gains, and of no other.",
            "let init_state return Memory(matrix, zeros([*heads, 1])), or leave the gain out.",
        )
    has_channel_decay = write.log_decay is not None and write.log_decay.shape[-1] > 1
    if write.log_gain is not None and (write.remove is not None or has_channel_decay):
        raise bad_input(
            f"{name} writes {sorted(shapes)} at once, with log_decay {shapes.get('log_decay')}.",
            "a log_gain together with a decay per head, and nothing removed.",
            "put the gain into the value, where it cannot overflow.",
        )
    has_other_fields = has_several_writes or {"log_gain", "remove", "erase"} & shapes.keys()
    has_other_fields = has_other_fields or has_momentum
    if write.reads_before is not None and (has_other_fields or write.reading is not None):
        raise bad_input(
            f"{name} writes {shapes}, and reads before the write.",
            "one write per step without a gain, nothing removed, no momentum, and no transposed "
            "reading.",
            "let the query read after the write, or write once per step.",
        )
    if has_momentum and write.log_gain is not None:
        raise bad_input(
            f"{name} writes {sorted(shapes)} at once.",
            "a log_gain or a log_momentum.",
            "put the gain into the value, where it cannot overflow.",
        )
    if write.momentum_rate is not None and not has_momentum:
        raise bad_input(
            f"{name} writes {sorted(shapes)}: a momentum_rate and no log_momentum.",
            "both, or a log_momentum alone.",
            "add log_momentum, 0 where momentum is kept whole, and the momentum to init_state.",
        )


def map_writes(fn: Callable, write: Write) -> Write:
    """`fn` of all fields that may have an axis of writes: all but the query."""
    return jax.tree.map(fn, write._replace(query=None))._replace(query=write.query)


def apply_writes(memory: Memory, write: Write) -> Memory:
    """The memory after one step, which may write several times."""
    if write.reads_before is not None:
        S, reading = memory.matrix[..., :-1], memory.matrix[..., -1:]
        new_reading = matmul(S, write.query[..., None])
        reading = jnp.where(write.reads_before[..., None] > 0, new_reading, reading)
        new = apply_write(Memory(S), write)
        return Memory(jnp.concatenate([new.matrix, reading], -1))
    if write.key.ndim == write.query.ndim:
        return apply_write(memory, write)
    for i in range(write.key.shape[-2]):
        memory = apply_write(memory, map_writes(lambda leaf, i=i: leaf[..., i, :], write))
    return memory


def apply_write(memory: Memory, write: Write) -> Memory:
    """The memory after one write: the definition that the chunkwise form is tested against."""
    if write.log_momentum is not None:
        return Memory(_apply_write_with_momentum(memory.matrix, write))
    S, m = memory
    if m is not None:
        gain = 0.0 if write.log_gain is None else write.log_gain
        previous_m = m
        m = later_maximum(m if write.log_decay is None else write.log_decay + m, gain)
        write = rescale_write(write, previous_m, m)
    new = S if write.log_decay is None else S * jnp.exp(write.log_decay)[..., None, :]
    if write.remove is not None:
        erase = write.key if write.erase is None else write.erase
        new = new - outer(matmul(S, write.remove[..., None])[..., 0], erase)
    return Memory(new + outer(write.value, write.key), m)


def _apply_write_with_momentum(blocks: Float[Array, "*heads value keys"], write: Write) -> Array:
    """[S M] after one write."""
    S, M = jnp.split(blocks, 2, -1)
    assert write.log_momentum is not None
    M = M * jnp.exp(write.log_momentum)[..., None, :]
    if write.remove is not None:
        erase = write.key if write.erase is None else write.erase
        M = M - outer(matmul(S, write.remove[..., None])[..., 0], erase)
    M = M + outer(write.value, write.key)
    added = M if write.momentum_rate is None else M * write.momentum_rate[..., None, :]
    S = S if write.log_decay is None else S * jnp.exp(write.log_decay)[..., None, :]
    return jnp.concatenate([S + added, M], -1)


def read(matrix: Float[Array, "*heads value key"], write: Write) -> Array:
    """S q, or Sᵀ q where the reading is transposed; of a memory after the write."""
    if write.reads_before is not None:
        return matrix[..., -1]
    S = matrix if write.log_momentum is None else matrix[..., : matrix.shape[-1] // 2]
    S = S if write.reading is None else S.mT
    return matmul(S, write.query[..., None])[..., 0]


def outer(values: Array, keys: Array) -> Array:
    """values keysᵀ as a matrix product.

    Then its gradient is one too, several times faster on a CPU than a sum of entrywise products.
    """
    return matmul(values[..., :, None], keys[..., None, :])


def later_maximum(earlier: Array, later: Array | float) -> Array:
    """max(earlier, later), with the whole gradient at `later` where they are equal.

    The gradient is then the same however a stretch of steps is cut, as by `Scan` and by `Parallel`;
    `jnp.maximum` would give half of it to each side of each cut.
    """
    return jnp.where((earlier > later) | jnp.isnan(earlier), earlier, later)


def rescale_write(write: Write, log_scale_before: Array, log_scale: Array) -> Write:
    """A write without a gain, for a matrix held divided by exp(log_scale).

    Where log_scale = max(log_decay + log_scale_before, log_gain), the decay and the factor of the
    value are at most 1.
    """
    level = jnp.where(log_scale == -jnp.inf, 0, log_scale)  # the matrix is 0: any scale is right
    # In this order, the decay is 1 to the bit where log_scale is log_decay + log_scale_before.
    decayed = log_scale_before if write.log_decay is None else write.log_decay + log_scale_before
    gain = 0.0 if write.log_gain is None else write.log_gain
    value = jnp.exp(gain - level) * write.value
    return write._replace(value=value, log_decay=decayed - level, log_gain=None)
