"""Surrogate gradients: the step from silence to spike, and what stands for its derivative.

    Θ(x) = 1 where x > 0, else 0            its derivative is 0 everywhere, or infinite
    s = Θ(x) + F(x) − stop_gradient(F(x))   Θ(x) in value, F' = ψ in every derivative

F is a smooth function in the place of the step. The two F cancel to the bit, so a spike is 0.0 or
1.0. No rule of differentiation is written: forward mode and derivatives of any order are JAX's own.
"""

import abc
import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._core.validation import check_positive

REMEDY = "leave it out for the default."


class AbstractSurrogate(abc.ABC):
    """A step with the derivative of a smooth function: `spikes = surrogate(v − threshold)`.

    A subclass is a frozen dataclass, so that a cell can hold it as a static field. It writes
    `relaxation`.

    Example:
        >>> import dataclasses, jax, seqmem
        >>> @dataclasses.dataclass(frozen=True)
        ... class Gaussian(seqmem.spikes.AbstractSurrogate):
        ...     def relaxation(self, x):
        ...         return jax.scipy.stats.norm.cdf(x)
        >>> spike = Gaussian()
        >>> x = jax.numpy.array([-1.0, 0.5])
        >>> spike(x), jax.grad(lambda x: spike(x).sum())(x).round(2)
        (Array([0., 1.], dtype=float32), Array([0.24, 0.35], dtype=float32))
    """

    @abc.abstractmethod
    def relaxation(self, x: Float[Array, "..."], /) -> Float[Array, "..."]:
        """F(x), entry by entry: the function whose derivatives a spike has. Finite where x is."""

    def __call__(self, x: Float[Array, "..."], /) -> Float[Array, "..."]:
        """Θ(x): 1.0 where x > 0, else 0.0."""
        smooth = self.relaxation(x)
        # Not a `jax.custom_jvp`: JAX 0.10 differentiates `lax.scan` of one twice wrongly.
        return (x > 0).astype(x.dtype) + (smooth - jax.lax.stop_gradient(smooth))


@dataclasses.dataclass(frozen=True)
class FastSigmoid(AbstractSurrogate):
    """Surrogate gradient with wide tails.

        ψ(x) = 1 / (1 + k |x|)²,    F(x) = x / (1 + k |x|)

    Source: Zenke & Ganguli 2018, arXiv:1705.11146 (SuperSpike); the paper itself was not read, the
    formula is that of snntorch 1.0.0.

    Args:
        slope: k, > 0.

    Raises:
        ValueError: for a slope that is not above 0.
    """

    slope: float = 25.0

    def __post_init__(self):
        check_positive("FastSigmoid", "slope", self.slope, remedy=REMEDY)

    def relaxation(self, x, /):
        # |x| as a product, and no quotient of x: the derivative is ψ to all digits, at 0 too.
        sign = _sign(x)
        return sign * (1 - 1 / (1 + self.slope * (sign * x))) / self.slope


@dataclasses.dataclass(frozen=True)
class ArcTan(AbstractSurrogate):
    """Surrogate gradient that is the derivative of an arctangent.

        ψ(x) = (α / 2) / (1 + (π α x / 2)²),    F(x) = arctan(π α x / 2) / π

    Source: Fang et al. 2021, arXiv:2007.05785; the paper itself was not read, the formula is that
    of snntorch 1.0.0.

    Args:
        alpha: α, > 0; ψ(0) is half of it.

    Raises:
        ValueError: for an alpha that is not above 0.
    """

    alpha: float = 2.0

    def __post_init__(self):
        check_positive("ArcTan", "alpha", self.alpha, remedy=REMEDY)

    def relaxation(self, x, /):
        # Pallas computes no arctan on a TPU, but arctan2.
        return jnp.arctan2(math.pi / 2 * self.alpha * x, jnp.ones_like(x)) / math.pi


@dataclasses.dataclass(frozen=True)
class Triangular(AbstractSurrogate):
    """Surrogate gradient that is 0 where the potential is far from the threshold.

        ψ(x) = γ max(0, 1 − |x|),    F(x) = γ (c − c |c| / 2) with c = min(max(x, −1), 1)

    Source: Bellec et al. 2018, arXiv:1803.09574; the paper itself was not read, the formula is that
    of the authors' program, IGITUGraz/LSNN-official.

    Args:
        height: γ, > 0.

    Raises:
        ValueError: for a height that is not above 0.
    """

    height: float = 0.3

    def __post_init__(self):
        check_positive("Triangular", "height", self.height, remedy=REMEDY)

    def relaxation(self, x, /):
        sign = _sign(x)
        size = jnp.minimum(sign * x, 1)
        return self.height * sign * (size - jnp.square(size) / 2)


@dataclasses.dataclass(frozen=True)
class StraightThrough(AbstractSurrogate):
    """Surrogate gradient of 1: the gradient passes a spike as it is.

        ψ(x) = 1,    F(x) = x

    Source: Bengio, Léonard & Courville 2013, arXiv:1308.3432 (the straight-through estimator); the
    paper itself was not read.
    """

    def relaxation(self, x, /):
        return x


def _sign(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """−1 or 1, without a 0 between."""
    return jnp.where(x < 0, -1, 1).astype(x.dtype)
