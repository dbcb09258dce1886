"""Tokens as vectors."""

from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._cells.pointwise import AbstractPointwiseCell
from .._core.validation import check_sizes


class Embedding(AbstractPointwiseCell):
    """A vector for each token: y_t = E[x_t]. It stands first in a `Stack`.

    Shapes: x (), a whole number, 0 <= x < tokens; y (size,). Cost per step: O(size).
    Another number gives NaN, so that a wrong token does not pass for a right one.

    Args:
        tokens: how many there are, > 0.
        size: entries of one vector, > 0.
        key: for the initial vectors, normal entries of variance 1.

    Raises:
        ValueError: for sizes below 1.

    Example:
        >>> import jax, seqmem
        >>> low, high = jax.random.split(jax.random.key(0))
        >>> embedding = seqmem.layers.Embedding(11, 3, key=low)
        >>> net = seqmem.layers.Stack([embedding, seqmem.LSTM(3, 5, key=high)])
        >>> state, ys = seqmem.unroll(net, net.init_state(), jax.numpy.array([[7], [2], [10]]))
        >>> ys.shape                                          # time, batch, features
        (3, 1, 5)
    """

    input_shape: ClassVar = ()

    E: Float[Array, "tokens size"]

    def __init__(self, tokens: int, size: int, *, key: PRNGKeyArray):
        check_sizes("Embedding", tokens=tokens, size=size)
        self.E = jax.random.normal(key, (tokens, size))

    def project(self, x):
        return looked_up(self.E, x)


def looked_up(
    E: Float[Array, "tokens size"], ids: Int[Array | np.ndarray, "*ids"]
) -> Float[Array, "*ids size"]:
    """The vectors of some tokens; NaN for a number outside the table."""
    return E.at[ids].get(mode="fill", fill_value=jax.numpy.nan, wrap_negative_indices=False)
