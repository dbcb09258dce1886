"""Resets: what a spike does to the membrane that sent it.

A reset happens in the step after the spike, so that the state holds the potential that crossed the
threshold.
"""

import abc
import dataclasses

import jax
from jaxtyping import Array, Float

from ..._core.errors import bad_input


@dataclasses.dataclass(frozen=True)
class AbstractReset(abc.ABC):
    """A reset: `v = reset(decay * v, spikes)`, before the input of the step is added.

    Args:
        has_gradient: whether the gradient also passes from the potential to the spike that reset
            it. Without it the reset is a constant of the backward pass, as in most programs.

    Raises:
        ValueError: for something other than True or False.
    """

    has_gradient: bool = False

    def __post_init__(self):
        if not isinstance(self.has_gradient, bool):
            raise bad_input(
                f"{type(self).__name__} got has_gradient={self.has_gradient!r}.",
                "True or False.",
                "leave it out for a reset that passes no gradient to the spike.",
            )

    def __call__(
        self, v: Float[Array, " hidden"], s: Float[Array, " hidden"], /
    ) -> Float[Array, " hidden"]:
        """The potential after the spikes `s` of the step before."""
        return self.apply(v, s if self.has_gradient else jax.lax.stop_gradient(s))

    @abc.abstractmethod
    def apply(
        self, v: Float[Array, " hidden"], s: Float[Array, " hidden"], /
    ) -> Float[Array, " hidden"]:
        """The same, with the gradient of its equation."""


@dataclasses.dataclass(frozen=True)
class SubtractThreshold(AbstractReset):
    """Reset by subtraction: what the potential had above the threshold stays.

        v ← v − s

    Args:
        has_gradient: as for `AbstractReset`.
    """

    def apply(self, v, s, /):
        return v - s


@dataclasses.dataclass(frozen=True)
class ToZero(AbstractReset):
    """Reset to zero: after a spike nothing is left of the potential.

        v ← (1 − s) ∘ v

    Args:
        has_gradient: as for `AbstractReset`.
    """

    def apply(self, v, s, /):
        return (1 - s) * v
