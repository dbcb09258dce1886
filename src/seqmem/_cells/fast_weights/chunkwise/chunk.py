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
from jaxtyping import Array, Float

from ..write import Write, matmul
from .retention import Resets, Retention, retention_of
from .triangular import inverse


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
        return _chunk_without_removal(write, retention_of(write.log_decay, resets))
    return _chunk_with_removal(write, write.remove, retention_of(write.log_decay, resets))


def _chunk_without_removal(write: Write, retention: Retention) -> Chunk:
    q, k, v = write.query, write.key, write.value
    Q, Y_init = retention.read_start(q)
    Y_0 = Y_init + matmul(retention.scores(q, k), v)
    R = retention.add_initial_matrix(matmul(v.mT, retention.keys_at_end(k)))
    return Chunk(retention.diagonal, R, Q, Y_0)


def _chunk_with_removal(write: Write, r: Array, retention: Retention) -> Chunk:
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
