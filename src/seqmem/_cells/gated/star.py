from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices
from .family import AbstractGatedCell


class STAR(AbstractGatedCell):
    """Stackable recurrent cell: one gate, made so that gradients keep their size over many layers.

        k_t = σ(W_k x_t + U h_{t−1} + b_k)
        z_t = tanh(W_z x_t + b_z)
        h_t = tanh((1 − k_t) ∘ h_{t−1} + k_t ∘ z_t)
        y_t = h_t

    Shapes: x (input,), h and y (hidden,); W (2, hidden, input): k, z. Cost per step: O(hidden ·
    (input + hidden)), of which O(hidden²) is sequential.
    Source: Turkoglu et al. 2019, arXiv:1911.11033. The paper's text was not read; the equations are
    those of torchrecurrent 0.2.5. Differs: U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "2 hidden input"]
    U: Float[Array, "hidden hidden"]
    b: Float[Array, "2 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("STAR", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = gate_matrices(
            key, (2, hidden_size, input_size), (hidden_size, hidden_size)
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
        k, z = u
        return h @ self.U.mT + k, z

    def gate(self, h, pre):
        k, z = pre
        k = sigmoid(k)
        return jnp.tanh((1 - k) * h + k * jnp.tanh(z))

    def readout(self, h, u):
        return h
