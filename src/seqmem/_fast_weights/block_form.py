"""A block of steps at once: what every method of this family but `Scan` is made of.

With a(i, j) the decay over the steps j + 1, ..., i and S the matrix before the block, row i of

    Q̃_i = q_i a(i, 0)       R̃_i = r_i a(i−1, 0)       K̃_j = k_j a(C, j)       Ẽ_j = e_j a(C, j)
    A_qk[i, j] = Σ_d q_i k_j a(i, j), j ≤ i           A_rk[i, j] = Σ_d r_i k_j a(i−1, j), j < i

and A_qe, A_re likewise, the removed values U (row i is S_{i−1} r_i), outputs and next matrix are

    (I + A_re) U = R̃ Sᵀ + A_rk V        Y = Q̃ Sᵀ + A_qk V − A_qe U
    S' = S diag(a(C, 0)) + Vᵀ K̃ − Uᵀ Ẽ

Where e = k, N = V − U is solved for instead: (I + A_rk) N = V − R̃ Sᵀ, and N takes the place of V.
After a reset, S stands for the initial matrix: selected, since 0 · NaN is NaN, and since r reads
before the decay.

Source: Yang et al. 2024, arXiv:2406.06484, section 3, for e = k without decay; the rest of the
generality is derived in docs/design.md.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .base import Memory, Write, each_write, matmul
from .decay import decays_since_each, decays_to_each, faded_products
from .scales import with_scales
from .triangular import inverse


class Resets(NamedTuple):
    """Where a block begins anew, in axes that broadcast against [*batch, *heads, step, channel]."""

    here: Bool[Array, "*lead step 1"]
    part: Int[Array, "*lead step 1"]  # how many resets until here
    init: Memory


def block_form(
    memory: Memory, init: Memory, write: Write, reset: Bool[Array, "*lead step 1"] | None
) -> tuple[Memory, Float[Array, "*lead step value"], Float[Array, "*lead step 1"] | None]:
    """The memory after a block of steps, what is read after each, and the log scales there.

    Args:
        memory: before the block, batch axes in front.
        init: where a reset goes, without batch axes.
        write: of every step, [*batch, *heads, step, ...]: finite but for decays and gains of −inf.
        reset: which steps begin anew.
    """
    several = write.key.ndim > write.query.ndim
    writes = write.key.shape[-2] if several else 1
    resets = None if reset is None else _resets(reset, init, writes)
    if several:
        write = _one_after_another(write, writes)
    scales = None
    if memory.log_scale is not None and init.log_scale is not None:
        starts = memory.log_scale[..., None, :], init.log_scale[..., None, :]
        write, scales = with_scales(*starts, write, None if resets is None else resets.here)
    matrix, readings = _block(memory.matrix, write, resets)
    shown = slice(writes - 1, None, writes)
    readings = readings[..., shown, :]
    if scales is None:
        return Memory(matrix), readings, None
    return Memory(matrix, scales[..., -1, :]), readings, scales[..., shown, :]


def _resets(reset: Array, init: Memory, writes: int) -> Resets:
    first = jnp.arange(reset.shape[-2] * writes)[:, None] % writes == 0  # of the writes of a step
    here = jnp.repeat(reset, writes, -2) & first
    return Resets(here, jnp.cumsum(here, -2), init)


def _one_after_another(write: Write, writes: int) -> Write:
    """Every write a step of its own; the query is that of the last one."""
    query = write.query[..., None, :]
    query = jnp.concatenate([*[jnp.zeros_like(query)] * (writes - 1), query], -2)

    def flat(leaf: Array) -> Array:
        return leaf.reshape(*leaf.shape[:-3], -1, leaf.shape[-1])

    return each_write(flat, write)._replace(query=flat(query))


def _block(S: Array, write: Write, resets: Resets | None) -> tuple[Array, Array]:
    q, k, v, g, r, e, _ = write
    w = None if g is None else jnp.exp(g)
    # A row that reads before its step sees what one of the step before sees after its own.
    rows = [q] if r is None else [q, _earlier(r)]
    columns = [k] if r is None or e is None else [k, e]
    A = faded_products(_stacked(rows)[:, None], _stacked(columns)[None], w)
    A_q, A_r = A[0], _later(A[-1])
    if resets is not None:
        same = resets.part == resets.part.mT
        A_q, A_r = jnp.where(same, A_q, 0), jnp.where(same, A_r, 0)
    passed = None if w is None else decays_to_each(w, None if resets is None else resets.here)

    Y = _read(S, q, passed, resets)
    entered, U = v, None
    if r is not None:
        before = None if passed is None else _later(passed, 1)
        if before is not None and resets is not None:
            before = jnp.where(resets.here, 1, before)
        U = _read(S, r, before, resets)
        if e is None:
            entered, U = matmul(inverse(A_r[0]), v - U), None
        else:
            U = matmul(inverse(A_r[1]), U + matmul(A_r[0], v))
            Y = Y - matmul(A_q[1], U)
    Y = Y + matmul(A_q[0], entered)

    left = None if w is None else decays_since_each(w)
    kept = None if resets is None else resets.part == resets.part[..., -1:, :]
    if resets is not None:
        S = jnp.where(resets.part[..., -1:, :] > 0, resets.init.matrix, S)
    if passed is not None:
        S = S * passed[..., -1:, :]
    S = S + _left(entered, k, left, kept)
    if U is not None and e is not None:
        S = S - _left(U, e, left, kept)
    return S, Y


def _read(S: Array, rows: Array, passed: Array | None, resets: Resets | None) -> Array:
    """rows_i · a(i) Sᵀ; after a reset, of the initial matrix."""
    if passed is not None and passed.shape[-1] > 1:
        rows, passed = rows * passed, None
    Y = matmul(rows, S.mT)
    if resets is not None:
        Y = jnp.where(resets.part > 0, matmul(rows, resets.init.matrix.mT), Y)
    return Y if passed is None else Y * passed


def _left(values: Array, keys: Array, left: Array | None, kept: Array | None) -> Array:
    """Σ_j values_j (keys_j · a(C, j))ᵀ over the steps behind the last reset."""
    if left is not None:
        if left.shape[-1] > 1:
            keys = keys * left
        else:
            values = values * left
    if kept is not None:
        values = jnp.where(kept, values, 0)
    return matmul(values.mT, keys)


def _stacked(leaves: list[Array]) -> Array:
    return jnp.stack(jnp.broadcast_arrays(*leaves)) if len(leaves) > 1 else leaves[0][None]


def _earlier(rows: Array) -> Array:
    return jnp.concatenate([rows[..., 1:, :], jnp.zeros_like(rows[..., :1, :])], -2)


def _later(rows: Array, first: float = 0.0) -> Array:
    return jnp.concatenate([jnp.full_like(rows[..., :1, :], first), rows[..., :-1, :]], -2)
