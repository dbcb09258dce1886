from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices
from .family import AbstractGatedCell


class MinimalRNN(AbstractGatedCell):
    """Minimal RNN: inputs become points in the space of the state, and one gate moves it there.

        z_t = tanh(W x_t + b)
        u_t = σ(U h_{t−1} + V z_t + c)
        h_t = u_t ∘ h_{t−1} + (1 − u_t) ∘ z_t
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential.
    Source: Chen 2017, arXiv:1711.06788. The paper's text was not read; the equations are those of
    torchrecurrent 0.2.5. Differs: U and V are orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden hidden"]
    V: Float[Array, "hidden hidden"]
    b: Float[Array, " hidden"]
    c: Float[Array, " hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("MinimalRNN", input_size=input_size, hidden_size=hidden_size)
        self.W, (self.U, self.V) = gate_matrices(
            key, (hidden_size, input_size), (2, hidden_size, hidden_size)
        )
        self.b = jnp.zeros(hidden_size)
        self.c = jnp.zeros(hidden_size)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        z = jnp.tanh(x @ self.W.mT + self.b)
        return z @ self.V.mT + self.c, z

    def mix(self, h, drive):
        u, z = drive
        return h @ self.U.mT + u, z

    def gate(self, h, pre):
        u, z = pre
        u = sigmoid(u)
        return u * h + (1 - u) * z

    def readout(self, h, drive):
        return h
