"""The inverse of I + A, A strictly lower triangular, by products alone.

    (I + A)⁻¹ of twice the size:   [ X      0 ]
                                   [ −Y B X  Y ]     X, Y the inverses of the halves, B the square

It is as exact as substitution. The shorter ∏ (I + (−A)^(2^i)) is not: powers of A grow before they
vanish, and cancel.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..write import matmul
from .decay import base_size, joined

FEW = 8  # steps of the matrices that are inverted in place


def inverse(A: Float[Array, "*lead step step"]) -> Float[Array, "*lead step step"]:
    """(I + A)⁻¹ where A is strictly lower triangular; what stands elsewhere is taken to be 0."""
    whole = A.shape[-1]
    size = base_size(whole, FEW)
    blocks = A.reshape(*A.shape[:-2], whole // size, size, whole // size, size)
    X = _small(_on_diagonal(blocks))
    while size < whole:
        blocks = A.reshape(
            *A.shape[:-2], whole // (2 * size), 2, size, whole // (2 * size), 2, size
        )
        between = _on_diagonal(blocks[..., :, 1, :, :, 0, :])
        X = joined(X, -matmul(X[..., 1::2, :, :], matmul(between, X[..., 0::2, :, :])))
        size *= 2
    return X[..., 0, :, :]


def _on_diagonal(blocks: Array) -> Array:
    """[..., block, i, block, j] to [..., block, i, j]."""
    return jnp.moveaxis(jnp.diagonal(blocks, axis1=-4, axis2=-2), -1, -3)


def _small(A: Array) -> Array:
    """The same for few steps, by doubling in place: what is not in the squares is masked."""
    index = jnp.arange(A.shape[-1])
    X = jnp.broadcast_to(jnp.eye(A.shape[-1], dtype=A.dtype), A.shape)
    size = 1
    while size < A.shape[-1]:
        row, column = (index // size)[:, None], index // size
        squares = jnp.where((row == column + 1) & (column % 2 == 0), A, 0)
        X = X - matmul(X, matmul(squares, X))
        size *= 2
    return X
