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
    decays = None if write.log_decay is None else cumulative_decay(write.log_decay)
    from_start = None
    if decays is not None:
        from_start = decays.from_start(None if resets is None else resets.is_reset)
    if write.remove is None:
        return _chunk_without_removal(write, decays, from_start, resets)
    return _chunk_with_removal(write, decays, from_start, resets)


def _chunk_without_removal(
    write: Write, decays: CumulativeDecay | None, from_start: Array | None, resets: Resets | None
) -> Chunk:
    q, k, v = write.query, write.key, write.value
    Q, Y_init = _read_start(q, from_start, resets)
    Y_0 = Y_init + matmul(_scores(q, k, decays, resets), v)
    R = matmul(v.mT, _keys_at_end(k, decays, resets))
    P = None if from_start is None else _last(from_start)
    return Chunk(P, _with_initial_matrix(R, from_start, resets), Q, Y_0)


def _chunk_with_removal(
    write: Write, decays: CumulativeDecay | None, from_start: Array | None, resets: Resets | None
) -> Chunk:
    q, k, v, _, r, e, _ = write
    assert r is not None
    Q, Y_0 = _read_start(q, from_start, resets)
    from_start_before = None if from_start is None else _shift_later(from_start, 1)
    if from_start_before is not None and resets is not None:
        from_start_before = jnp.where(resets.is_reset, 1, from_start_before)
    R_tilde, U_init = _read_start(r, from_start_before, resets)
    if e is None:  # N = X (V − R̃ Sᵀ)
        X, keys = inverse(_scores_before(r, k, decays, resets)), _keys_at_end(k, decays, resets)
        B = _scores(q, k, decays, resets)
        W, D = -matmul(X, R_tilde), matmul(X, v - U_init)
        R = matmul(D.mT, keys)
    else:  # U = X (R̃ Sᵀ + A_rk V)
        X, keys = inverse(_scores_before(r, e, decays, resets)), -_keys_at_end(e, decays, resets)
        B = -_scores(q, e, decays, resets)
        W = matmul(X, R_tilde)
        D = matmul(X, U_init + matmul(_scores_before(r, k, decays, resets), v))
        Y_0 = Y_0 + matmul(_scores(q, k, decays, resets), v)
        R = matmul(D.mT, keys) + matmul(v.mT, _keys_at_end(k, decays, resets))
    diagonal = jnp.ones_like(keys[..., :1, :]) if from_start is None else _last(from_start)
    P = matmul(W.mT, keys) + diagonal * jnp.eye(keys.shape[-1], dtype=keys.dtype)
    R = _with_initial_matrix(R, from_start, resets)
    return Chunk(P, R, Q + matmul(B, W), Y_0 + matmul(B, D))


def _scores(
    rows: Array, cols: Array, decays: CumulativeDecay | None, resets: Resets | None
) -> Array:
    """Σ_d rows_i cols_j w(i, j) for j ≤ i with no reset in between, else 0."""
    A = decayed_products(rows, cols, decays)
    return A if resets is None else jnp.where(resets.count == resets.count.mT, A, 0)


def _scores_before(
    rows: Array, cols: Array, decays: CumulativeDecay | None, resets: Resets | None
) -> Array:
    """Σ_d rows_i cols_j w(i−1, j) for j < i: a row that reads before its own step is a row of the
    step before.
    """
    A = _shift_later(decayed_products(_shift_earlier(rows), cols, decays), 0)
    return A if resets is None else jnp.where(resets.count == resets.count.mT, A, 0)


def _keys_at_end(keys: Array, decays: CumulativeDecay | None, resets: Resets | None) -> Array:
    """K̃ or Ẽ; 0 where a reset follows in the chunk."""
    keys = keys if decays is None else keys * decays.to_end
    return keys if resets is None else jnp.where(resets.count == _last(resets.count), keys, 0)


def _read_start(
    rows: Array, from_start: Array | None, resets: Resets | None
) -> tuple[Array, Array | float]:
    """The rows that read S, decayed, and what the rows after a reset read of the initial matrix."""
    rows = rows if from_start is None else rows * from_start
    if resets is None:
        return rows, 0.0
    is_after_reset = resets.count > 0
    reading = jnp.where(is_after_reset, matmul(rows, resets.init.mT), 0)
    return jnp.where(is_after_reset, 0, rows), reading


def _with_initial_matrix(R: Array, from_start: Array | None, resets: Resets | None) -> Array:
    """R, plus what is left of the initial matrix at the end of a chunk with a reset."""
    if resets is None:
        return R
    init = resets.init if from_start is None else resets.init * _last(from_start)
    return R + jnp.where(_last(resets.count) > 0, init, 0)


def _last(rows: Array) -> Array:
    return rows[..., -1:, :]


def _shift_earlier(rows: Array) -> Array:
    """Row i is row i + 1; the last is 0."""
    return jnp.concatenate([rows[..., 1:, :], jnp.zeros_like(rows[..., :1, :])], -2)


def _shift_later(rows: Array, first: float) -> Array:
    """Row i is row i − 1; the first is `first`."""
    return jnp.concatenate([jnp.full_like(rows[..., :1, :], first), rows[..., :-1, :]], -2)
