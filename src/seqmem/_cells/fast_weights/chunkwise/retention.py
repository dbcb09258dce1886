"""What decays and resets leave of the matrix and of the writes within a chunk."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..write import matmul
from .decay import CumulativeDecay, cumulative_decay, decayed_products, decayed_sums, every_nth


class Resets(NamedTuple):
    """The resets of a chunk, in axes that broadcast against [..., step, channel]."""

    is_reset: Bool[Array, "*lead step 1"]
    count: Int[Array, "*lead step 1"]  # resets in the chunk up to and including the step
    init: Float[Array, "*heads value key"]


class Retention(NamedTuple):
    """What decays and resets leave of the matrix and of the writes within a chunk.

    Attributes:
        decays: the cumulative decays; None for no decay.
        from_start: w(i, 0) at each step i, counted from the last reset if there is one.
        resets: the resets; None for no resets.
    """

    decays: CumulativeDecay | None
    from_start: Float[Array, "*lead step key_or_1"] | None
    resets: Resets | None

    @property
    def diagonal(self) -> Array | None:
        """w(C, 0), as one row."""
        return None if self.from_start is None else _last(self.from_start)

    def scores(self, rows: Array, cols: Array) -> Array:
        """Σ_d rows_i cols_j w(i, j) for j ≤ i with no reset in between, else 0. There may be one
        row for every n columns, at the last of them.
        """
        return self._mask(decayed_products(rows, cols, self.decays))

    def scores_before(self, rows: Array, cols: Array) -> Array:
        """Σ_d rows_i cols_j w(i−1, j) for j < i: a row that reads before its step is a row of the
        step before.
        """
        return self._mask(_shift_later(decayed_products(_shift_earlier(rows), cols, self.decays)))

    def sums(self, A: Array, keys: Array) -> Array:
        """Σ_j A[i, j] keys_j w(i, j) over j ≤ i with no reset in between."""
        return decayed_sums(self._mask(A), keys, self.decays)

    def _mask(self, A: Array) -> Array:
        """A, and 0 for pairs of steps with a reset in between."""
        if self.resets is None:
            return A
        count = self.resets.count
        return jnp.where(every_nth(count, A.shape[-2]) == count.mT, A, 0)

    def keys_at_end(self, keys: Array) -> Array:
        """K̃ or Ẽ; 0 where a reset follows in the chunk."""
        if self.decays is not None:
            keys = keys * self.decays.to_end
        if self.resets is None:
            return keys
        return jnp.where(self.resets.count == _last(self.resets.count), keys, 0)

    def read_start(self, rows: Array) -> tuple[Array, Array | float]:
        """The rows that read S, decayed, and the readings of the initial matrix after a reset."""
        return self._read(rows, self.from_start)

    def read_start_before(self, rows: Array) -> tuple[Array, Array | float]:
        """`read_start` of rows that read before the decay of their step."""
        from_start = None if self.from_start is None else _shift_later(self.from_start, 1)
        if from_start is not None and self.resets is not None:
            from_start = jnp.where(self.resets.is_reset, 1, from_start)
        return self._read(rows, from_start)

    def _read(self, rows: Array, from_start: Array | None) -> tuple[Array, Array | float]:
        steps = rows.shape[-2]
        rows = rows if from_start is None else rows * every_nth(from_start, steps)
        if self.resets is None:
            return rows, 0.0
        is_after_reset = every_nth(self.resets.count, steps) > 0
        reading = jnp.where(is_after_reset, matmul(rows, self.resets.init.mT), 0)
        return jnp.where(is_after_reset, 0, rows), reading

    def columns_of_start(self, rows: Array, G: Array) -> Array:
        """What rows of the value size read of S, decayed, or of the initial matrix after a reset,
        where G is what they read of S before the decay.
        """
        steps = rows.shape[-2]
        if self.resets is not None:
            is_after_reset = every_nth(self.resets.count, steps) > 0
            G = jnp.where(is_after_reset, matmul(rows, self.resets.init), G)
        return G if self.from_start is None else G * every_nth(self.from_start, steps)

    @property
    def initial_matrix_at_end(self) -> Array | float:
        """What is left of the initial matrix at the end of a chunk with a reset."""
        if self.resets is None:
            return 0.0
        init = self.resets.init if self.diagonal is None else self.resets.init * self.diagonal
        return jnp.where(_last(self.resets.count) > 0, init, 0)


def retention_of(log_decay: Array | None, resets: Resets | None) -> Retention:
    if log_decay is None:
        return Retention(None, None, resets)
    decays = cumulative_decay(log_decay)
    from_start = decays.from_start(None if resets is None else resets.is_reset)
    return Retention(decays, from_start, resets)


def _last(rows: Array) -> Array:
    return rows[..., -1:, :]


def _shift_earlier(rows: Array) -> Array:
    """Row i is row i + 1; the last is 0."""
    return jnp.concatenate([rows[..., 1:, :], jnp.zeros_like(rows[..., :1, :])], -2)


def _shift_later(rows: Array, first: float = 0.0) -> Array:
    """Row i is row i − 1; the first is `first`."""
    return jnp.concatenate([jnp.full_like(rows[..., :1, :], first), rows[..., :-1, :]], -2)
