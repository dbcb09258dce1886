from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_activation, check_sizes
from ..initialisers import lecun_normal
from .family import AbstractDiagonalCell


class GILR(AbstractDiagonalCell):
    """Gated impulse linear recurrence: a gated moving average of a nonlinear function of the input.

        g_t = σ(W_g x_t + b_g)              forget gate
        i_t = τ(W_i x_t + b_i)              impulse, gate "candidate"
        h_t = g_t ∘ h_{t−1} + (1 − g_t) ∘ i_t
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(input · hidden), of which O(hidden) is
    sequential.
    Source: Martin & Cundy 2018, arXiv:1709.04057, section 3.1. Differs: none.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        activation: τ, a function of an array, entry by entry.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or an activation that is
            not a function.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.GILR(3, 5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
        >>> state.shape, ys.shape
        ((5,), (7, 5))
    """

    gates: ClassVar = ("forget", "candidate")

    W: Float[Array, "2 hidden input"]
    b: Float[Array, "2 hidden"]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKeyArray,
    ):
        check_sizes("GILR", input_size=input_size, hidden_size=hidden_size)
        check_activation("GILR", activation)
        self.W = lecun_normal(key, (2, hidden_size, input_size))
        self.b = jnp.zeros((2, hidden_size))
        self.activation = activation

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def update(self, h, u):
        g, i = u
        return sigmoid(g) * h + sigmoid(-g) * self.activation(i)

    def readout(self, h, u):
        return h
