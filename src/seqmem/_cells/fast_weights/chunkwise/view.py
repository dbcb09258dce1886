"""The memory after each of many steps, to be read by queries that come later, as products."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...._core.batching import vmap_batch
from ...._core.errors import bad_input
from ..write import Write, matmul
from .retention import Resets, Retention, retention_of


class Writes(NamedTuple):
    """The writes of a chunk, which remove nothing, and what is left of each at each step."""

    key: Float[Array, "*lead step key"]
    value: Float[Array, "*lead step value"]
    retention: Retention


class MemoryView(NamedTuple):
    """The matrices S_t after each of many steps, which are read without being made.

    A cell that reads its memory more than once gets it in `read`. Queries and readings are [*heads,
    step, channel], all steps side by side; a single step is an axis of size 1.

    Attributes:
        matrix: the matrix before the first step.
        writes: those of the steps; None where they stand in `matrix` already.
    """

    matrix: Float[Array, "*lead value key"]
    writes: Writes | None = None

    def read(self, query: Float[Array, "*lead step key"]) -> Float[Array, "*lead step value"]:
        """S_t q_t of each step."""
        if self.writes is None:
            return matmul(query, self.matrix.mT)
        key, value, retention = self.writes
        rows, from_initial = retention.read_start(query)
        readings = matmul(rows, self.matrix.mT) + from_initial
        return readings + matmul(retention.scores(query, key), value)

    def split(self, size: int) -> tuple["MemoryView", "MemoryView"]:
        """The first rows of the matrices, as many as `size`, and the others."""
        return self._rows(slice(size)), self._rows(slice(size, None))

    def squared_norm(self) -> Float[Array, "*lead step 1"]:
        """‖S_t‖², the sum of the squares of all entries, at each step.

            ‖S_t‖² = w_t² ‖S_{t−1}‖² + 2 v_t · S_t k_t − ‖v_t‖² ‖k_t‖²

        Raises:
            ValueError: for a decay per key channel.
        """
        norm = _squares(self.matrix)
        if self.writes is None:
            return norm
        key, value, (decays, from_start, resets) = self.writes
        if decays is not None and decays.pairwise is None:
            raise bad_input(
                f"squared_norm of a memory with a decay for each of {decays.decay.shape[-1]} keys.",
                "one decay for all key channels of a head.",
                "give the write a log_decay of size 1.",
            )
        added = 2 * (value * self.read(key)).sum(-1, keepdims=True)
        added = added - (value * value).sum(-1, keepdims=True) * (key * key).sum(-1, keepdims=True)
        ones = jnp.ones_like(added)
        decay = self.writes.retention.scores(ones, ones)
        if resets is not None:
            norm = jnp.where(resets.count > 0, _squares(resets.init), norm)
        left = 1.0 if from_start is None else from_start * from_start
        return left * norm + matmul(decay * decay, added)

    def _rows(self, rows: slice) -> "MemoryView":
        matrix = self.matrix[..., rows, :]
        if self.writes is None:
            return MemoryView(matrix)
        key, value, retention = self.writes
        if retention.resets is not None:
            init = retention.resets.init[..., rows, :]
            retention = retention._replace(resets=retention.resets._replace(init=init))
        return MemoryView(matrix, Writes(key, value[..., rows], retention))


Read = Callable[[MemoryView, Array], Any]


def reading_by(cell: Any, batch_axes: int, *, in_groups: bool = False) -> Read | None:
    """The cell's `read`, for a batch; None where it is the chunk's own reading."""
    if cell.reads_once:
        return None

    def read(cell: Any, *args: Any) -> Any:
        return cell.read(*args)

    return vmap_batch(read, cell, batch_axes, time=in_groups)


def view_of(
    matrix: Float[Array, "*lead value key"], write: Write, resets: Resets | None
) -> MemoryView:
    """The memory after each step of a chunk.

    Args:
        matrix: before the chunk; a matrix that is not finite is read as 0.
        write: of every step, [*lead, step, channel], finite.
        resets: the resets of the chunk.
    """
    is_finite = jnp.isfinite(matrix).all((-2, -1), keepdims=True)
    if resets is not None:
        resets = resets._replace(init=jnp.broadcast_to(resets.init, matrix.shape))
    writes = Writes(write.key, write.value, retention_of(write.log_decay, resets))
    return MemoryView(jnp.where(is_finite, matrix, 0), writes)


def _squares(matrix: Array) -> Array:
    return (matrix * matrix).sum((-2, -1))[..., None, None]
