"""Retention with momentum: what is left of [S M] and of the writes within a chunk.

    M_i = η_i M_{i−1} + n_i k_iᵀ        S_i = α_i S_{i−1} + ρ_i M_i

With α(i, j) and η(i, j) the products of α and η over the steps j + 1, ..., i, S_i has of the write
at step j, and of M before the chunk,

    f(i, j) = Σ_{j≤l≤i} α(i, l) ρ_l η(l, j)        f(i, 0) = Σ_{0<l≤i} α(i, l) ρ_l η(l, 0)

Both are products of triangles of cumulative decays. f takes the place of the decay of the form
without momentum, and [S M] that of S: a row reads [α(i, 0) row, f(i, 0) row], a key is written to
[f(C, j) key, η(C, j) key]. Where α, η and ρ are at most 1, f is a sum of at most C terms between 0
and 1, so that nothing overflows and nothing cancels.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..write import Write, matmul
from .decay import cumulative_decay
from .retention import (
    Resets,
    columns_before_reset,
    decayed_rows,
    keep_last,
    last,
    mask_pairs,
    read_before_reset,
    shift_later,
)


class RetentionWithMomentum(NamedTuple):
    """What decays, momentum and resets leave of [S M] and of the writes within a chunk.

    Attributes:
        of_writes: f(i, j), what S has after step i of a write at step j; 0 for a reset in between.
        momentum_at_end: η(C, j), what M has after the chunk of a write at step j.
        of_start: α(i, 0) and f(i, 0), from the last reset on: what S has after step i of S and of
            M before the chunk.
        carried: the matrix by which the chunk multiplies [S M], if nothing is removed from it.
        resets: the resets; None for no resets.
    """

    of_writes: Float[Array, "*lead step step"]
    momentum_at_end: Float[Array, "*lead step 1"]
    of_start: tuple[Float[Array, "*lead step 1"], Float[Array, "*lead step 1"]]
    carried: Float[Array, "*lead keys keys"]
    resets: Resets | None

    def scores(self, rows: Array, cols: Array) -> Array:
        """Σ_d rows_i cols_j f(i, j) for j ≤ i with no reset in between, else 0. There may be one
        row for every n columns, at the last of them.
        """
        return decayed_rows(matmul(rows, cols.mT), self.of_writes)

    def scores_before(self, rows: Array, cols: Array) -> Array:
        """Σ_d rows_i cols_j f(i−1, j) for j < i: rows that read before their step."""
        return mask_pairs(matmul(rows, cols.mT) * shift_later(self.of_writes), self.resets)

    def keys_at_end(self, keys: Array) -> Array:
        """What a write to a key writes to [S M] after the chunk."""
        of_end = last(self.of_writes).mT, self.momentum_at_end
        return keep_last(_in_both(keys, of_end), self.resets)

    def read_start(self, rows: Array) -> tuple[Array, Array | float]:
        """The rows that read [S M], and the readings of the initial blocks after a reset."""
        return read_before_reset(_in_both(rows, self.of_start), self.resets)

    def read_start_before(self, rows: Array) -> tuple[Array, Array | float]:
        """`read_start` of rows that read before their step."""
        of_S, of_M = shift_later(self.of_start[0], 1), shift_later(self.of_start[1])
        if self.resets is not None:
            of_S = jnp.where(self.resets.is_reset, 1, of_S)
            of_M = jnp.where(self.resets.is_reset, 0, of_M)
        return read_before_reset(_in_both(rows, (of_S, of_M)), self.resets)

    def sums(self, A: Array, keys: Array) -> Array:
        """Σ_j A[i, j] keys_j f(i, j) over j ≤ i with no reset in between."""
        return matmul(decayed_rows(A, self.of_writes), keys)

    def columns_of_start(self, rows: Array, G: Array) -> Array:
        """What rows of the value size read of S, where G is what they read of [S M] before the
        chunk.
        """
        of_S, of_M = jnp.split(columns_before_reset(rows, G, self.resets), 2, -1)
        return decayed_rows(of_S, self.of_start[0]) + decayed_rows(of_M, self.of_start[1])

    @property
    def initial_matrix_at_end(self) -> Array | float:
        """What is left of the initial blocks at the end of a chunk with a reset."""
        if self.resets is None:
            return 0.0
        return jnp.where(last(self.resets.count) > 0, matmul(self.resets.init, self.carried), 0)


def retention_with_momentum(
    write: Write, log_momentum: Float[Array, "*lead step 1"], resets: Resets | None
) -> RetentionWithMomentum:
    """The retention of a chunk of writes with momentum."""
    log_decay = jnp.zeros_like(log_momentum) if write.log_decay is None else write.log_decay
    alpha, alpha_start = _cumulative(log_decay, resets)
    eta, eta_start = _cumulative(log_momentum, resets)
    if write.momentum_rate is not None:
        alpha = alpha * write.momentum_rate.mT
    of_start = alpha_start, matmul(alpha, eta_start)
    ends = jnp.broadcast_arrays(*(last(leaf) for leaf in (*of_start, eta_start)))
    eye = jnp.eye(write.key.shape[-1], dtype=write.key.dtype)
    S_to_S, M_to_S, M_to_M = (end * eye for end in ends)
    from_S = jnp.concatenate([S_to_S, jnp.zeros_like(S_to_S)], -1)
    carried = jnp.concatenate([from_S, jnp.concatenate([M_to_S, M_to_M], -1)], -2)
    return RetentionWithMomentum(matmul(alpha, eta), last(eta).mT, of_start, carried, resets)


def _cumulative(log_decay: Array, resets: Resets | None) -> tuple[Array, Array]:
    """The products of decays between pairs of steps, and from the start or the last reset on."""
    decays = cumulative_decay(log_decay)
    assert decays.pairwise is not None
    from_start = decays.from_start(None if resets is None else resets.is_reset)
    return mask_pairs(decays.pairwise, resets), from_start


def _in_both(rows: Array, shares: tuple[Array, Array]) -> Array:
    """Rows for S and for M, side by side."""
    both = (decayed_rows(rows, share) for share in shares)
    return jnp.concatenate(jnp.broadcast_arrays(*both), -1)
