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

Where the reading is transposed, q_i has the size of a value, and row i of Y is S_iᵀ q_i. With the
values that the chunk writes, N = W Sᵀ + D, and G = q S, A = q Nᵀ = q Dᵀ + G Wᵀ,

    Y[i, d] = G[i, d] w_d(i, 0) + Σ_{j≤i} A[i, j] k_j[d] w_d(i, j)

A query that reads before the write is a row of the step before, as r is: Y = R̃ Sᵀ + A_rk V with q
for r, and nothing is removed.

With momentum, [S M] takes the place of S, and another factor that of the decay (`momentum.py`).

After a reset the initial matrix takes the place of S. A decay of 0 at the reset would not do it:
r reads before the decay.

Source: Yang et al. 2024, arXiv:2406.06484, for e = k without decay (the WY form); the general form
is derived in docs/design.md.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..write import Write, matmul
from .momentum import RetentionWithMomentum, retention_with_momentum
from .retention import Resets, Retention, retention_of
from .triangular import inverse

AnyRetention = Retention | RetentionWithMomentum


class Chunk(NamedTuple):
    """S' = S P + R, with P a matrix or the diagonal of one, and what the chunk reads of S."""

    P: Float[Array, "*lead key_or_1 key"] | None  # a diagonal is one row; None is the identity
    R: Float[Array, "*lead value key"]
    reading: "Reading | TransposedReading"


def chunk_of(write: Write, resets: Resets | None) -> Chunk:
    """The chunk of writes, [*lead, step, channel]: one write per step, without gains, finite.

    Queries may be fewer, at every n-th step alone, where it is n writes that make a step of the
    cell. Their leading axes may be larger, where several queries of one step read one matrix: they
    share what decays.

    Where the chunk has a reset, P is not to be used: S' = R.
    """
    if write.reads_before is not None:
        return _chunk_that_reads_before(write, write.reads_before, resets)
    if write.log_momentum is None:
        retention = retention_of(write.log_decay, resets)
    else:
        retention = retention_with_momentum(write, write.log_momentum, resets)
    written = _written(write, retention)
    P = retention.carried
    R: Any = retention.initial_matrix_at_end
    for _, keys, W, D in written:
        R = R + matmul(D.mT, keys)
        if W is not None:
            if P is None or P.shape[-2] == 1:
                diagonal = jnp.ones_like(keys[..., :1, :]) if P is None else P
                P = diagonal * jnp.eye(keys.shape[-1], dtype=keys.dtype)
            P = matmul(W.mT, keys) + P
    if write.reading is None:
        return Chunk(P, R, _reading_by_keys(write.query, written, retention))
    return Chunk(P, R, TransposedReading(write.query, written, retention))


class _Written(NamedTuple):
    """Values that a chunk writes, W Sᵀ + D, and their keys. W is None where S plays no part."""

    keys: Float[Array, "*lead step key"]
    keys_at_end: Float[Array, "*lead step key"]  # decayed
    W: Float[Array, "*lead step key"] | None
    D: Float[Array, "*lead step value"]


def _written(write: Write, retention: AnyRetention) -> tuple[_Written, ...]:
    """V at K; with removal N at K, or V at K and U at −E. At most one of them has a W."""
    k, v, r, e = write.key, write.value, write.remove, write.erase
    if r is None:
        return (_Written(k, retention.keys_at_end(k), None, v),)
    R_tilde, U_init = retention.read_start_before(r)
    if e is None:  # N = X (V − R̃ Sᵀ)
        X = inverse(retention.scores_before(r, k))
        # Before W and D: XLA for a GPU then launches 4 kernels fewer (benchmarks.cost.launches).
        k_end = retention.keys_at_end(k)
        return (_Written(k, k_end, -matmul(X, R_tilde), matmul(X, v - U_init)),)
    X = inverse(retention.scores_before(r, e))  # U = X (R̃ Sᵀ + A_rk V)
    D = matmul(X, U_init + matmul(retention.scores_before(r, k), v))
    return (
        _Written(k, retention.keys_at_end(k), None, v),
        _Written(-e, -retention.keys_at_end(e), matmul(X, R_tilde), D),
    )


class Reading(NamedTuple):
    """Y = Q Sᵀ + Y_0."""

    Q: Float[Array, "*lead step key"]
    Y_0: Float[Array, "*lead step value"]

    def of(self, S: Float[Array, "*lead value key"]) -> Float[Array, "*lead step value"]:
        """The readings, given the matrix before the chunk."""
        return matmul(self.Q, S.mT) + self.Y_0


def _reading_by_keys(q: Array, written: tuple[_Written, ...], retention: AnyRetention) -> Reading:
    Y_0: Any
    Q, Y_0 = retention.read_start(q)
    for keys, _, W, D in written:
        scores = retention.scores(q, keys)
        Y_0 = Y_0 + matmul(scores, D)
        if W is not None:
            Q = Q + matmul(scores, W)
    return Reading(Q, Y_0)


class TransposedReading(NamedTuple):
    """The readings of queries of the value size."""

    query: Float[Array, "*lead step value"]
    written: tuple[_Written, ...]
    retention: AnyRetention

    def of(self, S: Float[Array, "*lead value key"]) -> Float[Array, "*lead step key"]:
        """The readings, given the matrix before the chunk."""
        G = matmul(self.query, S)
        Y = self.retention.columns_of_start(self.query, G)
        for keys, _, W, D in self.written:
            A = matmul(self.query, D.mT)
            if W is not None:
                A = A + matmul(G, W.mT)
            Y = Y + self.retention.sums(A, keys)
        return Y


def _chunk_that_reads_before(write: Write, reads_before: Array, resets: Resets | None) -> Chunk:
    """S' = S diag(w(C, 0)) + Vᵀ K̃ and, as one more column, the last reading of the chunk; where
    none of its steps reads, that of the chunk before.
    """
    q, k, v = write.query, write.key, write.value
    if resets is not None:
        resets = resets._replace(init=resets.init[..., :-1])
    retention = retention_of(write.log_decay, resets)
    Q, Y_init = retention.read_start_before(q)
    Y_0 = Y_init + matmul(retention.scores_before(q, k), v)
    R = matmul(v.mT, retention.keys_at_end(k)) + retention.initial_matrix_at_end
    diagonal = jnp.ones_like(q[..., :1, :]) if retention.carried is None else retention.carried
    P = diagonal * jnp.eye(q.shape[-1], dtype=q.dtype)
    reads = reads_before > 0
    reads_to_end = jnp.cumsum(reads[..., ::-1, :], -2)[..., ::-1, :]
    is_last = (reads & (reads_to_end == 1)).astype(q.dtype)
    last_column = _side_by_side(matmul(is_last.mT, Q), 1 - is_last.sum(-2, keepdims=True)).mT
    P = _side_by_side(_side_by_side(P.mT, jnp.zeros_like(P[..., :1])).mT, last_column)
    R = _side_by_side(R, matmul(Y_0.mT, is_last))
    return Chunk(P, R, Reading(_side_by_side(Q, jnp.zeros_like(Q[..., :1])), Y_0))


def _side_by_side(left: Array, right: Array) -> Array:
    """Two matrices side by side, with the leading axes of both."""
    lead = jnp.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    blocks = [jnp.broadcast_to(leaf, (*lead, *leaf.shape[-2:])) for leaf in (left, right)]
    return jnp.concatenate(blocks, -1)
