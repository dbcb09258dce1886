"""Per-step transforms of the BPTT gradient: clipping, scaling, truncation."""

import abc
import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ..._core.precision import split_inexact
from ..._core.problem import State
from ..._core.trees import tree_norm
from ..._core.validation import check_count, check_positive


class AbstractGradientTransform(abc.ABC):
    """A function of δ = (∂s_t/∂s_{t−1})ᵀ ∂L/∂s_t, the gradient that passes from a step to the state
    before it, for one example. A subclass is a frozen dataclass.

    The result takes the place of δ; the gradient that comes from the output of step t − 1 is added
    after it. Padded steps do not apply it.
    """

    @abc.abstractmethod
    def __call__(self, d_state: State, step_index: Int[Array, ""]) -> State:
        """The transformed gradient.

        Args:
            d_state: δ, in the shapes of one state.
            step_index: the later of the two steps between which it passes, counted over the valid
                steps in `xs`; 0 where it passes from the first step that is run to the initial
                state.
        """


@dataclasses.dataclass(frozen=True)
class ClipValue(AbstractGradientTransform):
    """Every entry of δ clipped to [−limit, limit]; of a complex entry the modulus is clipped.

    Source: Graves 2013, arXiv:1308.0850, section 2.1, clips gradients inside the recurrence too
    (there those of the LSTM's inputs, to [−10, 10]).
    """

    limit: float

    def __post_init__(self):
        check_positive("ClipValue", "limit", self.limit, remedy="leave the transform out.")

    def __call__(self, d_state, step_index):
        def clip(leaf: Array) -> Array:
            if not jnp.iscomplexobj(leaf):
                return jnp.clip(leaf, -self.limit, self.limit)
            modulus = jnp.abs(leaf)
            factor = jnp.where(modulus > self.limit, self.limit / modulus, jnp.ones_like(modulus))
            return leaf * factor.astype(leaf.dtype)

        return jax.tree.map(clip, d_state)


@dataclasses.dataclass(frozen=True)
class ClipNorm(AbstractGradientTransform):
    """δ scaled down to ‖δ‖ = limit where it is longer, over all leaves of one example's state."""

    limit: float

    def __post_init__(self):
        check_positive("ClipNorm", "limit", self.limit, remedy="leave the transform out.")

    def __call__(self, d_state, step_index):
        norm = tree_norm(d_state)
        factor = jnp.where(norm > self.limit, self.limit / norm, jnp.ones_like(norm))
        return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), d_state)


@dataclasses.dataclass(frozen=True)
class Scale(AbstractGradientTransform):
    """δ times a factor at every step: below 1, the gradient decays faster than the memory."""

    factor: float

    def __post_init__(self):
        check_positive("Scale", "factor", self.factor, remedy="leave the transform out.")

    def __call__(self, d_state, step_index):
        return jax.tree.map(lambda leaf: leaf * self.factor, d_state)


@dataclasses.dataclass(frozen=True)
class Detach(AbstractGradientTransform):
    """No gradient passes between windows of `every` steps: truncated backpropagation through time
    with a carried state.

    Source: Williams & Peng 1990, Neural Computation 2(4), doi:10.1162/neco.1990.2.4.490,
    BPTT(h; h') with h = h' = every.
    """

    every: int

    def __post_init__(self):
        check_count("Detach", "every", self.every, remedy="leave the transform out.")

    def __call__(self, d_state, step_index):
        is_border = (step_index > 0) & (step_index % self.every == 0)
        return jax.tree.map(lambda leaf: jnp.where(is_border, jnp.zeros_like(leaf), leaf), d_state)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def transform_gradient(
    transform: AbstractGradientTransform, state: State, step_index: Int[Array, ""]
) -> State:
    """`state` as it is, with a transformed gradient."""
    return state


def _forward(transform, state, step_index):
    return state, step_index


def _backward(transform, step_index, d_state):
    differentiable, constant = split_inexact(d_state)
    return eqx.combine(transform(differentiable, step_index), constant), None


transform_gradient.defvjp(_forward, _backward)
