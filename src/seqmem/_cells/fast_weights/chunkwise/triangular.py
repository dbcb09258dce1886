"""The inverse of I + A, A strictly lower triangular, by matrix products.

    (I + A)⁻¹ of twice the size:   [ X      0 ]
                                   [ −Y B X  Y ]     X, Y the inverses of the halves, B the square

It is as accurate as substitution. The shorter ∏ (I + (−A)^(2^i)) is not: the powers of A grow
before they vanish, and cancel.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..write import matmul
from .halving import diagonal_tiles, halve_until, join_triangles, split_pairs, squares_below

SMALL = 8  # steps of the matrices that are inverted in place


def inverse(A: Float[Array, "*lead step step"]) -> Float[Array, "*lead step step"]:
    """(I + A)⁻¹ where A is strictly lower triangular; all other entries of A are read as 0."""
    steps = A.shape[-1]
    size = halve_until(steps, SMALL)
    X = _invert_small(diagonal_tiles(A, size))
    while size < steps:
        first, second = split_pairs(X)
        X = join_triangles(X, -matmul(second, matmul(squares_below(A, size), first)))
        size *= 2
    return X[..., 0, :, :]


def _invert_small(A: Array) -> Array:
    """`inverse` of few steps: the same doubling on the whole matrix, with masks for the squares."""
    index = jnp.arange(A.shape[-1])
    X = jnp.broadcast_to(jnp.eye(A.shape[-1], dtype=A.dtype), A.shape)
    size = 1
    while size < A.shape[-1]:
        row, column = (index // size)[:, None], index // size
        B = jnp.where((row == column + 1) & (column % 2 == 0), A, 0)
        X = X - matmul(X, matmul(B, X))
        size *= 2
    return X
