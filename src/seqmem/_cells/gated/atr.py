from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices
from .family import AbstractGatedCell


class ATR(AbstractGatedCell):
    """Addition-subtraction twin-gated network: one pair of matrices makes both gates.

        p_t = W x_t + b
        q_t = U h_{t−1} + c
        h_t = σ(p_t + q_t) ∘ p_t + σ(p_t − q_t) ∘ h_{t−1}
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential.
    Source: Zhang et al. 2018, arXiv:1810.12546. The paper's text was not read; the equations are
    those of torchrecurrent 0.2.5. Differs: U is orthogonal at the start.

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
    c: Float[Array, " hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("ATR", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = gate_matrices(key, (hidden_size, input_size), (hidden_size, hidden_size))
        self.b = jnp.zeros(hidden_size)
        self.c = jnp.zeros(hidden_size)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, h, p):
        return p, h @ self.U.mT + self.c

    def gate(self, h, pre):
        p, q = pre
        return sigmoid(p + q) * p + sigmoid(p - q) * h

    def readout(self, h, p):
        return h
