"""The matrices between chunks, one after another: S_{c+1} = S_c P_c + R_c."""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float

from ...._core.step import select
from ..write import matmul
from .chunk import Chunk
from .schedule import UNROLL

SAVED = "fast-weight matrices between chunks"  # the name by which jax.checkpoint keeps them

Matrices = Float[Array, "chunk *lead value key"]
Flags = Bool[Array, "chunk *lead 1 1"]
Maps = tuple[Array | None, Flags | None, Matrices]  # P, whether a chunk has a reset, and R


def matrices_after(
    S: Float[Array, "*lead value key"], chunk: Chunk, has_reset: Flags | None
) -> tuple[Matrices, Flags]:
    """The matrix after each chunk, and whether it has an entry that is not finite; such an entry is
    returned as 0.

    The derivatives are those of the recurrence, at the matrices that were found. So the backward
    pass makes one product per chunk in order too, the gradients of all P are one product side by
    side, and the matrices, which `jax.checkpoint` may keep, are not computed again.

    Args:
        S: the matrix before the first chunk, finite.
        chunk: all chunks, side by side.
        has_reset: in which chunks there is a reset, so that S' = R.
    """
    R = jnp.broadcast_to(chunk.R, (len(chunk.R), *S.shape))
    first = jax.tree.map(lambda leaf: leaf[0], (chunk.P, has_reset))
    maps = chunk.P, has_reset, R.at[0].add(_pass_on(S, *first))
    states = checkpoint_name(_one_by_one(jax.lax.stop_gradient(maps)), SAVED)
    is_finite = jnp.isfinite(states)
    states = _differentiate(jnp.where(is_finite, states, 0), maps)
    return states, ~is_finite.all((-2, -1), keepdims=True)


@jax.custom_jvp
def _differentiate(states: Matrices, maps: Maps) -> Matrices:
    """The states after the maps, found without derivatives, with those of the recurrence."""
    return states


@_differentiate.defjvp
def _differentiate_jvp(
    primals: tuple[Matrices, Maps], tangents: tuple[Matrices, Maps]
) -> tuple[Matrices, Matrices]:
    """dS_{c+1} = dS_c P_c + S_c dP_c + dR_c."""
    (_, (P, has_reset, _)), (_, (dP, _, dR)) = primals, tangents
    states = _differentiate(*primals)
    if dP is not None:
        before = jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]])
        dR = dR + _pass_on(before, dP, has_reset)
    return states, _one_by_one((P, has_reset, dR))


def _one_by_one(maps: Maps) -> Matrices:
    """The matrix after each map, from a matrix of 0."""

    def step(S: Array, map: Maps) -> tuple[Array, Array]:
        P, has_reset, R = map
        S = _pass_on(S, P, has_reset) + R
        return S, S

    return jax.lax.scan(step, jnp.zeros_like(maps[2][0]), maps, unroll=UNROLL)[1]


def _pass_on(S: Array, P: Array | None, has_reset: Array | None) -> Array:
    """S P, and 0 in a chunk with a reset, which hides a matrix that is not finite."""
    S = select(has_reset, jnp.zeros_like(S), S)
    if P is None:
        return S
    is_diagonal = P.shape[-2] == 1
    return S * P if is_diagonal else matmul(S, P)
