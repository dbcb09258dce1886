from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices
from .family import AbstractGatedCell


class LiGRU(AbstractGatedCell):
    """Light GRU: a GRU without a reset gate, its candidate rectified.

        z_t = σ(W_z x_t + U_z h_{t−1} + b_z)                           update gate
        n_t = relu(W_n x_t + U_n h_{t−1} + b_n)                        candidate
        h_t = z_t ∘ h_{t−1} + (1 − z_t) ∘ n_t
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential.
    Source: Ravanelli et al. 2018, arXiv:1803.10225. The paper's text was not read; the equations
    are those of torchrecurrent 0.2.5. Differs: b in place of the paper's batch normalisation of
    W x, which would mix examples and steps; each U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("update", "candidate")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "2 hidden input"]
    U: Float[Array, "2 hidden hidden"]
    b: Float[Array, "2 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("LiGRU", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = gate_matrices(
            key, (2, hidden_size, input_size), (2, hidden_size, hidden_size)
        )
        self.b = jnp.zeros((2, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, h, u):
        return h @ self.U.mT + u

    def gate(self, h, pre):
        z, n = pre
        z = sigmoid(z)
        return z * h + (1 - z) * jax.nn.relu(n)

    def readout(self, h, u):
        return h
