"""Axes cut into halves, for algorithms that join a triangle from two smaller ones."""

import jax.numpy as jnp
from jaxtyping import Array


def halve_until(size: int, limit: int) -> int:
    """The size, halved until it is odd or at most `limit`."""
    while size > limit and size % 2 == 0:
        size //= 2
    return size


def split_pairs(leaf: Array) -> tuple[Array, Array]:
    """The first and the second segment of each pair of neighbours, of [..., segment, i, j]."""
    return leaf[..., 0::2, :, :], leaf[..., 1::2, :, :]


def diagonal_tiles(A: Array, size: int) -> Array:
    """The tiles on the diagonal of a square matrix: [..., tile, i, j]."""
    count = A.shape[-1] // size
    return _diagonal(A.reshape(*A.shape[:-2], count, size, count, size))


def squares_below(A: Array, size: int) -> Array:
    """Below each first of two neighbouring tiles on the diagonal, the square: [..., pair, i, j]."""
    pairs = A.shape[-1] // (2 * size)
    tiles = A.reshape(*A.shape[:-2], pairs, 2, size, pairs, 2, size)
    return _diagonal(tiles[..., :, 1, :, :, 0, :])


def _diagonal(tiles: Array) -> Array:
    """[..., tile, i, tile, j] to [..., tile, i, j]."""
    return jnp.moveaxis(jnp.diagonal(tiles, axis1=-4, axis2=-2), -1, -3)


def join_triangles(triangles: Array, squares: Array) -> Array:
    """Lower triangles of twice the size: two neighbours on the diagonal, a square below the first.

    [ first   0      ]
    [ square  second ]
    """
    first, second = split_pairs(triangles)
    top = jnp.concatenate([first, jnp.zeros_like(squares)], -1)
    return jnp.concatenate([top, jnp.concatenate([squares, second], -1)], -2)
