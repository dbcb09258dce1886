from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices
from .family import AbstractGatedCell


class FastRNN(AbstractGatedCell):
    """FastRNN: a weighted residual connection around an RNN, with two numbers as its weights.

        n_t = tanh(W x_t + U h_{t−1} + b)
        h_t = σ(α) n_t + σ(β) h_{t−1}
        y_t = h_t

    Shapes: x (input,), h and y (hidden,); α and β (). Cost per step: O(hidden · (input + hidden)),
    of which O(hidden²) is sequential.
    Source: Kusupati et al. 2018, arXiv:1901.02358. The paper's text was not read; the equations are
    those of torchrecurrent 0.2.5. Differs: α = −3 and β = 3 at the start, so that the state changes
    slowly; U is orthogonal at the start.

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
    b: Float[Array, " hidden"]
    alpha: Float[Array, ""]
    beta: Float[Array, ""]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("FastRNN", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = gate_matrices(key, (hidden_size, input_size), (hidden_size, hidden_size))
        self.b = jnp.zeros(hidden_size)
        self.alpha, self.beta = jnp.asarray(-3.0), jnp.asarray(3.0)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, h, u):
        return h @ self.U.mT + u

    def gate(self, h, z):
        return sigmoid(self.alpha) * jnp.tanh(z) + sigmoid(self.beta) * h

    def readout(self, h, u):
        return h
