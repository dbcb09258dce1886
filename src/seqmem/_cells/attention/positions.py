"""Positions in attention: rotary embeddings and linear biases.

Positions are whole numbers stored as floats: those within a window and a block of queries, or the
place of a token in its sequence. Only their differences matter.
"""

import abc
import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._core.errors import bad_input
from ..._core.validation import check_positive, check_sizes
from .rope_scaling import AbstractRoPEScaling


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

    The product of a query and a key then depends on the difference of their positions. The entries
    after the first `size` stay as they are. In float32 an angle m θ_i is known to about 10⁻⁷ m.

    Source: Su et al. 2021, arXiv:2104.09864, equations 15 and 34. Differs: none; programs that
    pair the halves of a head compute the same with its entries in another order.

    Args:
        base: the wavelengths go from 2π to 2π · base steps; > 0.
        size: how many entries of a head are rotated, an even number; None is all.
        scaling: `LinearScaling`, `Llama3Scaling` or `YaRNScaling`, for sequences that are longer
            than those of the training; None leaves the θ_i as they are.

    Raises:
        ValueError: for a base or a size of 0 or below.
    """

    base: float = 10000.0
    size: int | None = None
    scaling: AbstractRoPEScaling | None = None

    def __post_init__(self):
        check_positive("RoPE", "base", self.base, remedy="leave it out for 10000.")
        if self.size is not None:
            check_sizes("RoPE", size=self.size)

    def check(self, head_size):
        size = self.size or head_size
        if size % 2 or size > head_size:
            rotated = "" if self.size is None else f" that rotates {size} of them"
            raise bad_input(
                f"RoPE for heads of {head_size} features{rotated}.",
                "an even number, since RoPE rotates pairs, and no more than a head has.",
                "choose another number of heads or another size, ALiBi(), or positions=None.",
            )

    def encode(self, vectors, positions):
        size = self.size or vectors.shape[-1]
        theta, amplitude = self.base ** -(np.arange(0, size, 2) / size), 1.0
        if self.scaling is not None:
            theta = self.scaling.frequencies(theta, self.base)
            amplitude = self.scaling.amplitude
        angles = positions[..., None, None] * jnp.asarray(theta, vectors.dtype)
        cos, sin = amplitude * jnp.cos(angles), amplitude * jnp.sin(angles)
        rotated, others = vectors[..., :size], vectors[..., size:]
        a, b = rotated[..., ::2], rotated[..., 1::2]
        rotated = jnp.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(rotated.shape)
        return jnp.concatenate([rotated, others], -1) if others.shape[-1] else rotated

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
