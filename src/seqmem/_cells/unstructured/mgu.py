from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices


class MGU(AbstractCell):
    """Minimal gated unit: a GRU with one gate in place of its reset and update gates.

        f_t = σ(W_f x_t + U_f h_{t−1} + b_f)                            forget gate
        n_t = tanh(W_n x_t + U_n (f_t ∘ h_{t−1}) + b_n)                 candidate
        h_t = (1 − f_t) ∘ h_{t−1} + f_t ∘ n_t
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential, in two products, one after the other.
    Source: Zhou et al. 2016, arXiv:1603.09420. Differs: each U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("forget", "candidate")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "2 hidden input"]
    U: Float[Array, "2 hidden hidden"]
    b: Float[Array, "2 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("MGU", input_size=input_size, hidden_size=hidden_size)
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

    def update(self, h, u):
        f = sigmoid(h @ self.U[0].mT + u[0])
        n = jnp.tanh((f * h) @ self.U[1].mT + u[1])
        return (1 - f) * h + f * n

    def readout(self, h, u):
        return h
