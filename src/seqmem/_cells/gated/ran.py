from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices
from .family import AbstractGatedCell
from .lstm import LSTMState


class RAN(AbstractGatedCell):
    """Recurrent additive network: the memory is a gated sum of linear maps of the inputs.

        i_t, f_t = σ(W x_t + U h_{t−1} + b)                    input and forget gate
        c_t = f_t ∘ c_{t−1} + i_t ∘ (W_c x_t)
        h_t = tanh(c_t)
        y_t = h_t

    Shapes: x (input,), h, c and y (hidden,); W (3, hidden, input): input, forget, content. Cost per
    step: O(hidden · (input + hidden)), of which O(hidden²) is sequential.
    Source: Lee, Levy & Zettlemoyer 2017, arXiv:1705.07393. The paper's text was not read; the
    equations are those of its authors' program (ran). Differs: each U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of h and of c, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("input", "forget")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "3 hidden input"]
    U: Float[Array, "2 hidden hidden"]
    b: Float[Array, "2 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("RAN", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = gate_matrices(
            key, (3, hidden_size, input_size), (2, hidden_size, hidden_size)
        )
        self.b = jnp.zeros((2, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return LSTMState(*(jnp.zeros(size, dtype) for _ in LSTMState._fields))

    def project(self, x):
        return x @ self.W.mT + jnp.pad(self.b, ((0, 1), (0, 0)))

    def mix(self, state, u):
        return state.h @ self.U.mT + u[:2], u[2]

    def gate(self, state, z):
        (i, f), content = z
        c = sigmoid(f) * state.c + sigmoid(i) * content
        return LSTMState(jnp.tanh(c), c)

    def readout(self, state, u):
        return state.h
