"""How attention knows what is near: by turning queries and keys, or by taking off from far ones.

Positions are those within a window and a block, small whole numbers held as floats: only their
differences count.
"""

import abc
import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._core.errors import bad_input


class AbstractPositions(abc.ABC):
    """Subclasses are frozen dataclasses: printable, hashable, static under jit."""

    @abc.abstractmethod
    def check(self, head_size: int) -> None:
        """Raise a `ValueError` where a head of that size cannot be served."""

    @abc.abstractmethod
    def turned(
        self, vectors: Float[Array, "... heads size"], at: Float[Array, "..."]
    ) -> Float[Array, "... heads size"]:
        """Queries or keys as they are multiplied, from where they stand."""

    @abc.abstractmethod
    def bias(
        self, heads: int, distance: Float[Array, "... queries keys"]
    ) -> Float[Array, "... heads queries keys"] | None:
        """What is added to the products, from how far back each key stands; None is nothing."""


@dataclasses.dataclass(frozen=True)
class RoPE(AbstractPositions):
    """Rotary position embedding: neighbouring entries, as pairs, are turned by their position.

        (x_{2i−1}, x_{2i})  ↦  turned by the angle m θ_i,    θ_i = base^{−2(i−1)/size}

    The product of a query and a key then depends on the difference of their positions.

    Source: Su et al. 2021, arXiv:2104.09864, equations 15 and 34. Differs: none; programs that
    pair the halves of a head compute the same with its entries in another order.

    Args:
        base: of the wavelengths, from 2π to 2π · base steps.
    """

    base: float = 10000.0

    def check(self, head_size):
        if head_size % 2:
            raise bad_input(
                f"RoPE for heads of {head_size} entries.",
                "an even number, since entries are turned in pairs.",
                "choose another number of heads, ALiBi(), or positions=None.",
            )

    def turned(self, vectors, at):
        size = vectors.shape[-1]
        theta = jnp.asarray(self.base ** -(np.arange(0, size, 2) / size), vectors.dtype)
        angle = at[..., None, None] * theta
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        a, b = vectors[..., ::2], vectors[..., 1::2]
        return jnp.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(vectors.shape)

    def bias(self, heads, distance):
        return None


@dataclasses.dataclass(frozen=True)
class ALiBi(AbstractPositions):
    """Attention with linear biases: m_h is taken off the product for each step that a key is back.

        m_h = 2^{−8 h / heads}        h = 1, ..., heads

    Source: Press et al. 2021, arXiv:2108.12409, section 3. Differs: none; the authors' program has
    other slopes where the number of heads is no power of 2.
    """

    def check(self, head_size):
        pass

    def turned(self, vectors, at):
        return vectors

    def bias(self, heads, distance):
        slopes = 2.0 ** (-8 * np.arange(1, heads + 1) / heads)
        return -jnp.asarray(slopes, distance.dtype)[:, None, None] * distance[..., None, :, :]


@dataclasses.dataclass(frozen=True)
class NoPositions(AbstractPositions):
    """A window as a set: its order does not count."""

    def check(self, head_size):
        pass

    def turned(self, vectors, at):
        return vectors

    def bias(self, heads, distance):
        return None
