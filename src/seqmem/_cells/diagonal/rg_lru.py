from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal, uniform
from .family import AbstractDiagonalCell

C = 8.0  # of equation 3
MAX_SLOPE = 1000.0  # bound on the derivative of √


class RGLRU(AbstractDiagonalCell):
    """Real-gated linear recurrent unit: a real diagonal recurrence whose decay and input are gated.

        r_t = σ(W_a x_t + b_a)              gate "recurrence"
        i_t = σ(W_x x_t + b_x)              gate "input"
        a_t = a^(c r_t)                     a = σ(Λ), c = 8
        h_t = a_t ∘ h_{t−1} + √(1 − a_t²) ∘ (i_t ∘ x_t)
        y_t = h_t

    Shapes: x, h and y (size,). Cost per step: O(size²), of which O(size) is sequential.
    Source: De et al. 2024 (Griffin), arXiv:2402.19427, equations 1–4; a^c is uniform in
    [0.9, 0.999] at the start, as in section 2.4. As in the authors' code, recurrentgemma, the
    derivative of √ is clipped at 1000: it is infinite where a_t = 1. Differs: none from the
    equations. recurrentgemma multiplies the first input of a sequence by 1 instead of √(1 − a_t²),
    its W_a and W_x are block-diagonal, and a, not a^c, is uniform in [0.9, 0.999] at the start;
    `seqmem.blocks.griffin_block` has the first two.

    Args:
        size: features of one input, of the state and of one output, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.RGLRU(5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 5)))
        >>> state.shape, ys.shape
        ((5,), (7, 5))
    """

    gates: ClassVar = ("recurrence", "input")

    Lambda: Float[Array, " size"]
    W: Float[Array, "2 size size"]
    b: Float[Array, "2 size"]

    def __init__(self, size: int, *, key: PRNGKeyArray):
        check_sizes("RGLRU", size=size)
        decay_key, gate_key = jax.random.split(key)
        self.Lambda = decay_parameter(decay_key, size)
        self.W = lecun_normal(gate_key, (2, size, size))
        self.b = jnp.zeros((2, size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b, x

    def update(self, h, u):
        (r, i), x = u
        log_a = C * sigmoid(r) * log_sigmoid(self.Lambda)
        return jnp.exp(log_a) * h + root(-jnp.expm1(2 * log_a)) * sigmoid(i) * x

    def readout(self, h, u):
        return h


def decay_parameter(key: PRNGKeyArray, size: int) -> Float[Array, " size"]:
    """Λ with σ(Λ)^c uniform in [0.9, 0.999]."""
    log_a = jnp.log(uniform(key, (size,), 0.9, 0.999)) / C
    return log_a - jnp.log(-jnp.expm1(log_a))


@jax.custom_jvp
def root(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """√x, with a derivative of at most `MAX_SLOPE`."""
    return jnp.sqrt(x)


@root.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    y = root(x)
    return y, dx / (2 * jnp.maximum(y, 1 / (2 * MAX_SLOPE)))
