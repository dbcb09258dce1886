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
    def carried(self) -> Array | None:
        """w(C, 0), as one row: what the chunk makes of S, if nothing is removed from it."""
        return None if self.from_start is None else last(self.from_start)

    def scores(self, rows: Array, cols: Array) -> Array:
        """Σ_d rows_i cols_j w(i, j) for j ≤ i with no reset in between, else 0. There may be one
        row for every n columns, at the last of them.
        """
        return mask_pairs(decayed_products(rows, cols, self.decays), self.resets)

    def scores_before(self, rows: Array, cols: Array) -> Array:
        """Σ_d rows_i cols_j w(i−1, j) for j < i: a row that reads before its step is a row of the
        step before.
        """
        A = shift_later(decayed_products(_shift_earlier(rows), cols, self.decays))
        return mask_pairs(A, self.resets)

    def sums(self, A: Array, keys: Array) -> Array:
        """Σ_j A[i, j] keys_j w(i, j) over j ≤ i with no reset in between."""
        return decayed_sums(mask_pairs(A, self.resets), keys, self.decays)

    def keys_at_end(self, keys: Array) -> Array:
        """K̃ or Ẽ; 0 where a reset follows in the chunk."""
        if self.decays is not None:
            keys = keys * self.decays.to_end
        return keep_last(keys, self.resets)

    def read_start(self, rows: Array) -> tuple[Array, Array | float]:
        """The rows that read S, decayed, and the readings of the initial matrix after a reset."""
        return read_before_reset(decayed_rows(rows, self.from_start), self.resets)

    def read_start_before(self, rows: Array) -> tuple[Array, Array | float]:
        """`read_start` of rows that read before the decay of their step."""
        from_start = None if self.from_start is None else shift_later(self.from_start, 1)
        if from_start is not None and self.resets is not None:
            from_start = jnp.where(self.resets.is_reset, 1, from_start)
        return read_before_reset(decayed_rows(rows, from_start), self.resets)

    def columns_of_start(self, rows: Array, G: Array) -> Array:
        """What rows of the value size read of S, decayed, or of the initial matrix after a reset,
        where G is what they read of S before the decay.
        """
        G = columns_before_reset(rows, G, self.resets)
        return decayed_rows(G, self.from_start)

    @property
    def initial_matrix_at_end(self) -> Array | float:
        """What is left of the initial matrix at the end of a chunk with a reset."""
        if self.resets is None:
            return 0.0
        init = self.resets.init if self.carried is None else self.resets.init * self.carried
        return jnp.where(last(self.resets.count) > 0, init, 0)


def retention_of(log_decay: Array | None, resets: Resets | None) -> Retention:
    """The retention of a chunk of steps with these decays."""
    if log_decay is None:
        return Retention(None, None, resets)
    decays = cumulative_decay(log_decay)
    from_start = decays.from_start(None if resets is None else resets.is_reset)
    return Retention(decays, from_start, resets)


def decayed_rows(rows: Array, decay: Array | None) -> Array:
    """The rows, each times the decay at its step."""
    return rows if decay is None else rows * every_nth(decay, rows.shape[-2])


def mask_pairs(A: Array, resets: Resets | None) -> Array:
    """A of pairs of steps, and 0 for those with a reset in between."""
    if resets is None:
        return A
    return jnp.where(every_nth(resets.count, A.shape[-2]) == resets.count.mT, A, 0)


def keep_last(rows: Array, resets: Resets | None) -> Array:
    """The rows; 0 where a reset follows in the chunk."""
    if resets is None:
        return rows
    return jnp.where(resets.count == last(resets.count), rows, 0)


def read_before_reset(rows: Array, resets: Resets | None) -> tuple[Array, Array | float]:
    """The rows, 0 after a reset, and what those after a reset read of the initial matrix."""
    if resets is None:
        return rows, 0.0
    is_after_reset = every_nth(resets.count, rows.shape[-2]) > 0
    reading = jnp.where(is_after_reset, matmul(rows, resets.init.mT), 0)
    return jnp.where(is_after_reset, 0, rows), reading


def columns_before_reset(rows: Array, G: Array, resets: Resets | None) -> Array:
    """G, what rows of the value size read of S; after a reset, what they read of the initial
    matrix.
    """
    if resets is None:
        return G
    is_after_reset = every_nth(resets.count, rows.shape[-2]) > 0
    return jnp.where(is_after_reset, matmul(rows, resets.init), G)


def last(rows: Array) -> Array:
    """The row of the last step."""
    return rows[..., -1:, :]


def _shift_earlier(rows: Array) -> Array:
    """Row i is row i + 1; the last is 0."""
    return jnp.concatenate([rows[..., 1:, :], jnp.zeros_like(rows[..., :1, :])], -2)


def shift_later(rows: Array, first: float = 0.0) -> Array:
    """Row i is row i − 1; the first is `first`."""
    return jnp.concatenate([jnp.full_like(rows[..., :1, :], first), rows[..., :-1, :]], -2)
