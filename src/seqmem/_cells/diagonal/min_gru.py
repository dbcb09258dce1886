from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal
from .family import AbstractDiagonalCell


class MinGRU(AbstractDiagonalCell):
    """Minimal gated recurrent unit: its gate depends on the input only, so the update is linear in
    the state.

        z_t = σ(W_z x_t + b_z)
        c_t = W_c x_t + b_c
        h_t = (1 − z_t) ∘ h_{t−1} + z_t ∘ c_t
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(input · hidden), of which O(hidden) is
    sequential.
    Source: Feng et al. 2024, arXiv:2410.01201, section 3.1. Differs: c_t is not made
    positive by a function g, which the paper needs for its computation in log space only.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("update", "candidate")

    W: Float[Array, "2 hidden input"]
    b: Float[Array, "2 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("MinGRU", input_size=input_size, hidden_size=hidden_size)
        self.W = lecun_normal(key, (2, hidden_size, input_size))
        self.b = jnp.zeros((2, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        z, c = x @ self.W.mT + self.b
        return sigmoid(z), c

    def update(self, h, u):
        z, c = u
        return (1 - z) * h + z * c

    def readout(self, h, u):
        return h
