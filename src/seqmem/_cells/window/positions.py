"""Positions in attention: rotary embeddings and linear biases.

Positions are those within a window and a block of queries, small whole numbers stored as floats:
only their differences matter.
"""

import abc
import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._core.errors import bad_input


class AbstractPositions(abc.ABC):
    """How attention takes positions into account. Subclasses are frozen dataclasses: printable,
    hashable, static under jit.
    """

    @abc.abstractmethod
    def check(self, head_size: int) -> None:
        """Refuse a size of heads that the method cannot encode.

        Raises:
            ValueError: for such a size.
        """

    @abc.abstractmethod
    def encode(
        self, vectors: Float[Array, "... heads size"], positions: Float[Array, "..."]
    ) -> Float[Array, "... heads size"]:
        """Queries or keys with their positions encoded."""

    @abc.abstractmethod
    def bias(
        self, num_heads: int, distances: Float[Array, "... queries keys"]
    ) -> Float[Array, "... heads queries keys"] | None:
        """The term added to the products, from the steps between query and key; None for none."""


@dataclasses.dataclass(frozen=True)
class RoPE(AbstractPositions):
    """Rotary position embedding: pairs of neighbouring entries are rotated by their position.

        (x_{2i−1}, x_{2i})  ↦  rotated by the angle m θ_i,    θ_i = base^{−2(i−1)/size}

    The product of a query and a key then depends on the difference of their positions.

    Source: Su et al. 2021, arXiv:2104.09864, equations 15 and 34. Differs: none; programs that
    pair the halves of a head compute the same with its entries in another order.

    Args:
        base: the wavelengths go from 2π to 2π · base steps.
    """

    base: float = 10000.0

    def check(self, head_size):
        if head_size % 2:
            raise bad_input(
                f"RoPE for heads of {head_size} features.",
                "an even number, since RoPE rotates pairs.",
                "choose another number of heads, ALiBi(), or positions=None.",
            )

    def encode(self, vectors, positions):
        size = vectors.shape[-1]
        theta = jnp.asarray(self.base ** -(np.arange(0, size, 2) / size), vectors.dtype)
        angles = positions[..., None, None] * theta
        cos, sin = jnp.cos(angles), jnp.sin(angles)
        a, b = vectors[..., ::2], vectors[..., 1::2]
        return jnp.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(vectors.shape)

    def bias(self, num_heads, distances):
        return None


@dataclasses.dataclass(frozen=True)
class ALiBi(AbstractPositions):
    """Attention with linear biases: head h subtracts m_h from a product for each step between query
    and key.

        m_h = 2^{−8 h / heads}        h = 1, ..., heads

    Source: Press et al. 2021, arXiv:2108.12409, section 3. Differs: none; the authors' program has
    other slopes where the number of heads is not a power of 2.
    """

    def check(self, head_size):
        pass

    def encode(self, vectors, positions):
        return vectors

    def bias(self, num_heads, distances):
        slopes = 2.0 ** (-8 * np.arange(1, num_heads + 1) / num_heads)
        return -jnp.asarray(slopes, distances.dtype)[:, None, None] * distances[..., None, :, :]


@dataclasses.dataclass(frozen=True)
class NoPositions(AbstractPositions):
    """No positions: attention to a window as a set, whose order does not matter."""

    def check(self, head_size):
        pass

    def encode(self, vectors, positions):
        return vectors

    def bias(self, num_heads, distances):
        return None
