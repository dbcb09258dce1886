from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_biases, gate_matrices
from .family import AbstractGatedCell


class JANET(AbstractGatedCell):
    """LSTM with a forget gate alone, which also says what enters ("just another network").

        f_t = W_f x_t + U_f h_{t−1} + b_f
        g_t = tanh(W_g x_t + U_g h_{t−1} + b_g)                         candidate, gate "cell"
        h_t = σ(f_t) ∘ h_{t−1} + (1 − σ(f_t − β)) ∘ g_t
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential.
    Source: van der Westhuizen & Lasenby 2018, arXiv:1804.04849. The paper's text was not read; the
    equations are those of its authors' program (janet), where β = 1. Differs: each U is orthogonal
    at the start. `seqmem.with_chrono_bias` gives the biases that the paper starts from.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        beta: β; above 0 more enters than is forgotten.
        forget_bias: initial bias of the forget gate.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("forget", "cell")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "2 hidden input"]
    U: Float[Array, "2 hidden hidden"]
    b: Float[Array, "2 hidden"]
    beta: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        beta: float = 1.0,
        forget_bias: float = 1.0,
        key: PRNGKeyArray,
    ):
        check_sizes("JANET", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = gate_matrices(
            key, (2, hidden_size, input_size), (2, hidden_size, hidden_size)
        )
        self.b = gate_biases(self.gates, hidden_size, forget=forget_bias)
        self.beta = beta

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
        f, g = z
        return sigmoid(f) * h + sigmoid(self.beta - f) * jnp.tanh(g)

    def readout(self, h, u):
        return h
