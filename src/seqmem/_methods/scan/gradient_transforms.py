"""What may be done to the gradient on its way from one step to the one before."""

import abc
import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ..._core.cell import State
from ..._core.errors import bad_input
from ..._core.trees import tree_norm
from ..._core.precision import split


class AbstractGradientTransform(abc.ABC):
    """A function of the gradient that leaves a step for the state before it, δ = (∂s_t/∂s_{t−1})ᵀ
    ∂L/∂s_t, written for one example. Subclasses are frozen dataclasses.

    What it returns takes δ's place; the gradient that comes from the output of step t − 1 is added
    after it. Padded steps do not apply it.
    """

    @abc.abstractmethod
    def __call__(self, d: State, border: Int[Array, ""]) -> State:
        """The transformed gradient.

        Args:
            d: δ, in the shapes of one state.
            border: the later of the two steps between which it passes, counted in `xs`; 0 where it
                leaves the first step that is run for the initial state.
        """


def _positive(name: str, field: str, value: float) -> None:
    if not value > 0:
        raise bad_input(
            f"{name}({field}={value}).",
            f"a {field} above 0.",
            f"choose a positive number; leave the transform out for no {name.lower()}.",
        )


@dataclasses.dataclass(frozen=True)
class ClipValue(AbstractGradientTransform):
    """Every entry of δ clipped to [−limit, limit].

    Source: Graves 2013, arXiv:1308.0850, section 2.1 clips the gradients inside of the recurrence
    too (there those of the LSTM's inputs, to [−10, 10]).
    """

    limit: float

    def __post_init__(self):
        _positive("ClipValue", "limit", self.limit)

    def __call__(self, d, border):
        return jax.tree.map(lambda leaf: jnp.clip(leaf, -self.limit, self.limit), d)


@dataclasses.dataclass(frozen=True)
class ClipNorm(AbstractGradientTransform):
    """δ scaled down to ‖δ‖ = limit where it is longer, over all leaves of one example's state."""

    limit: float

    def __post_init__(self):
        _positive("ClipNorm", "limit", self.limit)

    def __call__(self, d, border):
        norm = tree_norm(d)
        factor = jnp.where(norm > self.limit, self.limit / norm, jnp.ones_like(norm))
        return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), d)


@dataclasses.dataclass(frozen=True)
class Scale(AbstractGradientTransform):
    """δ times a factor at every step: memory that fades backward only, or does less so."""

    factor: float

    def __post_init__(self):
        _positive("Scale", "factor", self.factor)

    def __call__(self, d, border):
        return jax.tree.map(lambda leaf: leaf * self.factor, d)


@dataclasses.dataclass(frozen=True)
class Detach(AbstractGradientTransform):
    """No gradient passes between windows of `every` steps: truncated backpropagation, with the
    state carried.

    Source: Williams & Peng 1990, Neural Computation 2(4), BPTT(h; h') with h = h' = every.
    """

    every: int

    def __post_init__(self):
        _positive("Detach", "every", self.every)

    def __call__(self, d, border):
        cut = (border > 0) & (border % self.every == 0)
        return jax.tree.map(lambda leaf: jnp.where(cut, jnp.zeros_like(leaf), leaf), d)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def transformed(
    transform: AbstractGradientTransform, state: State, border: Int[Array, ""]
) -> State:
    """`state` as it is, whose gradient is transformed."""
    return state


def _transformed_forward(transform, state, border):
    return state, border


def _transformed_backward(transform, border, d):
    moving, still = split(d)
    return eqx.combine(transform(moving, border), still), None


transformed.defvjp(_transformed_forward, _transformed_backward)
