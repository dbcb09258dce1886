"""What a block of steps does to any matrix, and what is read in it: products alone.

With w(i, j) the decay over the steps j + 1, ..., i and S the matrix before the block, row i of

    Q̃_i = q_i w(i, 0)       R̃_i = r_i w(i−1, 0)       K̃_j = k_j w(C, j)       Ẽ_j = e_j w(C, j)
    A_qk[i, j] = Σ_d q_i k_j w(i, j), j ≤ i           A_rk[i, j] = Σ_d r_i k_j w(i−1, j), j < i

and A_qe, A_re likewise, the removed values U (row i is S_{i−1} r_i), outputs and next matrix are

    (I + A_re) U = R̃ Sᵀ + A_rk V        Y = Q̃ Sᵀ + A_qk V − A_qe U
    S' = S diag(w(C, 0)) + Vᵀ K̃ − Uᵀ Ẽ

Where e = k, N = V − U is solved for instead: (I + A_rk) N = V − R̃ Sᵀ, and N takes the place of V.
All of it is affine in S, so a block is S' = S P + R and Y = Q Sᵀ + Y_0, made without S.

After a reset nothing of S is seen, and the initial matrix takes its place: r reads before the
decay, so no decay of 0 says the same.

Source: Yang et al. 2024, arXiv:2406.06484, for e = k without decay; the rest of the generality is
derived in docs/design.md.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..write import Write, matmul
from .decay import faded_products, fading_by
from .triangular import inverse


class Resets(NamedTuple):
    """Where a block begins anew, in axes that broadcast against [..., step, channel]."""

    here: Bool[Array, "*lead step 1"]
    part: Int[Array, "*lead step 1"]  # how many resets in the block until here
    init: Float[Array, "*heads value key"]


class Block(NamedTuple):
    """S' = S P + R, with P a matrix or the diagonal of one; Y = Q Sᵀ + Y_0."""

    P: Float[Array, "*lead key_or_1 key"] | None  # a diagonal is one row; None is the identity
    R: Float[Array, "*lead value key"]
    Q: Float[Array, "*lead step key"]
    Y_0: Float[Array, "*lead step value"]


def block_form(write: Write, resets: Resets | None) -> Block:
    """The block of writes, [*lead, step, channel]: one write per step, without gains, finite.

    P says nothing where there is a reset in the block: then S' = R.
    """
    q, k, v, g, r, e, _ = write
    fading = None if g is None else fading_by(g)
    passed = None if fading is None else fading.passed(None if resets is None else resets.here)

    def scores(rows: Array, cols: Array) -> Array:
        A = faded_products(rows, cols, fading)
        return A if resets is None else jnp.where(resets.part == resets.part.mT, A, 0)

    def left(keys: Array) -> Array:  # K̃, where no reset follows
        kept = keys if fading is None else keys * fading.left
        if resets is None:
            return kept
        return jnp.where(resets.part == resets.part[..., -1:, :], kept, 0)

    Q, Y_0 = _seen(q, passed, resets)
    if r is None:
        Y_0 = Y_0 + matmul(scores(q, k), v)
        return Block(
            None if passed is None else _last(passed),
            _carried(matmul(v.mT, left(k)), passed, resets),
            Q,
            Y_0,
        )

    # A row that reads before its step sees what one of the step before sees after its own.
    def scores_before(cols: Array) -> Array:
        A = _later(faded_products(_earlier(r), cols, fading))
        return A if resets is None else jnp.where(resets.part == resets.part.mT, A, 0)

    before = None if passed is None else _later(passed, 1)
    if before is not None and resets is not None:
        before = jnp.where(resets.here, 1, before)
    read, read_0 = _seen(r, before, resets)
    if e is None:
        X, keys, B = inverse(scores_before(k)), left(k), scores(q, k)
        W, D = -matmul(X, read), matmul(X, v - read_0)
        R = matmul(D.mT, keys)
    else:
        X, keys, B = inverse(scores_before(e)), -left(e), -scores(q, e)
        W, D = matmul(X, read), matmul(X, read_0 + matmul(scores_before(k), v))
        Y_0 = Y_0 + matmul(scores(q, k), v)
        R = matmul(D.mT, keys) + matmul(v.mT, left(k))
    P = matmul(W.mT, keys)
    diagonal = jnp.ones_like(keys[..., :1, :]) if passed is None else _last(passed)
    P = P + diagonal * jnp.eye(keys.shape[-1], dtype=P.dtype)
    R = _carried(R, passed, resets)
    return Block(P, R, Q + matmul(B, W), Y_0 + matmul(B, D))


def _seen(rows: Array, passed: Array | None, resets: Resets | None) -> tuple[Array, Array | float]:
    """Rows that meet S, and what the others make of the initial matrix."""
    rows = rows if passed is None else rows * passed
    if resets is None:
        return rows, 0.0
    begun = resets.part > 0
    return jnp.where(begun, 0, rows), jnp.where(begun, matmul(rows, resets.init.mT), 0)


def _carried(R: Array, passed: Array | None, resets: Resets | None) -> Array:
    """What is added to the matrix, and what is left of the initial one after a reset."""
    if resets is None:
        return R
    left = resets.init if passed is None else resets.init * _last(passed)
    return R + jnp.where(resets.part[..., -1:, :] > 0, left, 0)


def _last(rows: Array) -> Array:
    return rows[..., -1:, :]


def _earlier(rows: Array) -> Array:
    return jnp.concatenate([rows[..., 1:, :], jnp.zeros_like(rows[..., :1, :])], -2)


def _later(rows: Array, first: float = 0.0) -> Array:
    return jnp.concatenate([jnp.full_like(rows[..., :1, :], first), rows[..., :-1, :]], -2)
