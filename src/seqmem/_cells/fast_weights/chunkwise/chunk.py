"""The chunkwise form: what a chunk of C steps does to any matrix, and what it reads, as products.

With w(i, j) the decay over the steps j + 1, ..., i and S the matrix before the chunk, row i of

    Q̃_i = q_i w(i, 0)       R̃_i = r_i w(i−1, 0)       K̃_j = k_j w(C, j)       Ẽ_j = e_j w(C, j)
    A_qk[i, j] = Σ_d q_i k_j w(i, j), j ≤ i           A_rk[i, j] = Σ_d r_i k_j w(i−1, j), j < i

and A_qe, A_re of the same form, the removed values U (row i is S_{i−1} r_i), the readings and the
next matrix are

    (I + A_re) U = R̃ Sᵀ + A_rk V        Y = Q̃ Sᵀ + A_qk V − A_qe U
    S' = S diag(w(C, 0)) + Vᵀ K̃ − Uᵀ Ẽ

Where e = k, N = V − U is solved for instead: (I + A_rk) N = V − R̃ Sᵀ, and N takes the place of V.
All of it is affine in S, so that a chunk is S' = S P + R and Y = Q Sᵀ + Y_0, computed without S.

After a reset the initial matrix takes the place of S. A decay of 0 at the reset would not do it:
r reads before the decay.

Source: Yang et al. 2024, arXiv:2406.06484, for e = k without decay (the WY form); the general form
is derived in docs/design.md.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..write import Write, matmul
from .decay import CumulativeDecay, cumulative_decay, decayed_products
from .triangular import inverse


class Resets(NamedTuple):
    """The resets of a chunk, in axes that broadcast against [..., step, channel]."""

    is_reset: Bool[Array, "*lead step 1"]
    count: Int[Array, "*lead step 1"]  # resets in the chunk up to and including the step
    init: Float[Array, "*heads value key"]


class Chunk(NamedTuple):
    """S' = S P + R, with P a matrix or the diagonal of one; Y = Q Sᵀ + Y_0."""

    P: Float[Array, "*lead key_or_1 key"] | None  # a diagonal is one row; None is the identity
    R: Float[Array, "*lead value key"]
    Q: Float[Array, "*lead step key"]
    Y_0: Float[Array, "*lead step value"]


def chunk_of(write: Write, resets: Resets | None) -> Chunk:
    """The chunk of writes, [*lead, step, channel]: one write per step, without gains, finite.

    Where the chunk has a reset, P is not to be used: S' = R.
    """
    if write.remove is None:
        return _chunk_without_removal(write, _retention(write.log_decay, resets))
    return _chunk_with_removal(write, write.remove, _retention(write.log_decay, resets))


def _chunk_without_removal(write: Write, retention: "_Retention") -> Chunk:
    q, k, v = write.query, write.key, write.value
    Q, Y_init = retention.read_start(q)
    Y_0 = Y_init + matmul(retention.scores(q, k), v)
    R = retention.add_initial_matrix(matmul(v.mT, retention.keys_at_end(k)))
    return Chunk(retention.diagonal, R, Q, Y_0)


def _chunk_with_removal(write: Write, r: Array, retention: "_Retention") -> Chunk:
    q, k, v, e = write.query, write.key, write.value, write.erase
    Q, Y_0 = retention.read_start(q)
    R_tilde, U_init = retention.read_start_before(r)
    if e is None:  # N = X (V − R̃ Sᵀ)
        X, keys = inverse(retention.scores_before(r, k)), retention.keys_at_end(k)
        B = retention.scores(q, k)
        W, D = -matmul(X, R_tilde), matmul(X, v - U_init)
        R = matmul(D.mT, keys)
    else:  # U = X (R̃ Sᵀ + A_rk V)
        X, keys = inverse(retention.scores_before(r, e)), -retention.keys_at_end(e)
        B = -retention.scores(q, e)
        W, D = matmul(X, R_tilde), matmul(X, U_init + matmul(retention.scores_before(r, k), v))
        Y_0 = Y_0 + matmul(retention.scores(q, k), v)
        R = matmul(D.mT, keys) + matmul(v.mT, retention.keys_at_end(k))
    P = matmul(W.mT, keys)
    diagonal = jnp.ones_like(keys[..., :1, :])
    if retention.diagonal is not None:
        diagonal = retention.diagonal
    P = P + diagonal * jnp.eye(keys.shape[-1], dtype=keys.dtype)
    R = retention.add_initial_matrix(R)
    return Chunk(P, R, Q + matmul(B, W), Y_0 + matmul(B, D))


class _Retention(NamedTuple):
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
        """Σ_d rows_i cols_j w(i, j) for j ≤ i with no reset in between, else 0."""
        return self._mask(decayed_products(rows, cols, self.decays))

    def scores_before(self, rows: Array, cols: Array) -> Array:
        """Σ_d rows_i cols_j w(i−1, j) for j < i: a row that reads before its step is a row of the
        step before.
        """
        return self._mask(_shift_later(decayed_products(_shift_earlier(rows), cols, self.decays)))

    def _mask(self, A: Array) -> Array:
        """A, and 0 for pairs of steps with a reset in between."""
        if self.resets is None:
            return A
        return jnp.where(self.resets.count == self.resets.count.mT, A, 0)

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
        rows = rows if from_start is None else rows * from_start
        if self.resets is None:
            return rows, 0.0
        is_after_reset = self.resets.count > 0
        reading = jnp.where(is_after_reset, matmul(rows, self.resets.init.mT), 0)
        return jnp.where(is_after_reset, 0, rows), reading

    def add_initial_matrix(self, R: Array) -> Array:
        """R, plus what is left of the initial matrix at the end of a chunk with a reset."""
        if self.resets is None:
            return R
        init = self.resets.init if self.diagonal is None else self.resets.init * self.diagonal
        return R + jnp.where(_last(self.resets.count) > 0, init, 0)


def _retention(log_decay: Array | None, resets: Resets | None) -> _Retention:
    if log_decay is None:
        return _Retention(None, None, resets)
    decays = cumulative_decay(log_decay)
    from_start = decays.from_start(None if resets is None else resets.is_reset)
    return _Retention(decays, from_start, resets)


def _last(rows: Array) -> Array:
    return rows[..., -1:, :]


def _shift_earlier(rows: Array) -> Array:
    """Row i is row i + 1; the last is 0."""
    return jnp.concatenate([rows[..., 1:, :], jnp.zeros_like(rows[..., :1, :])], -2)


def _shift_later(rows: Array, first: float = 0.0) -> Array:
    """Row i is row i − 1; the first is `first`."""
    return jnp.concatenate([jnp.full_like(rows[..., :1, :], first), rows[..., :-1, :]], -2)
