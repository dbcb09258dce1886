from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..gated.lstm import LSTMState
from ..initialisers import gate_biases, gate_matrices


class MultiplicativeLSTM(AbstractCell):
    """LSTM whose recurrent weights depend on the input: its gates see m in place of h.

        m_t = (W_m x_t) ∘ (R h_{t−1})
        i_t, f_t, o_t = σ(W x_t + U m_t + b)              input, forget and output gate
        g_t = tanh(W_g x_t + U_g m_t + b_g)               candidate, gate "cell"
        c_t = f_t ∘ c_{t−1} + i_t ∘ g_t
        h_t = o_t ∘ tanh(c_t)
        y_t = h_t

    Shapes: x (input,), h, c and y (hidden,); W (5, hidden, input): the gates, then m.
    Cost per step: O(hidden · (input + hidden)), of which O(hidden²) is sequential, in two products,
    one after the other.
    Source: Krause et al. 2016, arXiv:1609.07959. The paper's text was not read; the equations are
    those of torchrecurrent 0.2.5. Differs: m has no biases; R and each U are orthogonal at the
    start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of h and of c, > 0.
        forget_bias: initial bias of the forget gate.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("input", "forget", "cell", "output")
    recurrent_weights: ClassVar = ("U", "R")

    W: Float[Array, "5 hidden input"]
    U: Float[Array, "4 hidden hidden"]
    R: Float[Array, "hidden hidden"]
    b: Float[Array, "4 hidden"]

    def __init__(
        self, input_size: int, hidden_size: int, *, forget_bias: float = 1.0, key: PRNGKeyArray
    ):
        check_sizes("MultiplicativeLSTM", input_size=input_size, hidden_size=hidden_size)
        self.W, matrices = gate_matrices(
            key, (5, hidden_size, input_size), (5, hidden_size, hidden_size)
        )
        self.U, self.R = matrices[:4], matrices[4]
        self.b = gate_biases(self.gates, hidden_size, forget=forget_bias)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return LSTMState(*(jnp.zeros(size, dtype) for _ in LSTMState._fields))

    def project(self, x):
        return x @ self.W.mT + jnp.pad(self.b, ((0, 1), (0, 0)))

    def update(self, state, u):
        m = u[4] * (state.h @ self.R.mT)
        i, f, g, o = m @ self.U.mT + u[:4]
        c = sigmoid(f) * state.c + sigmoid(i) * jnp.tanh(g)
        return LSTMState(sigmoid(o) * jnp.tanh(c), c)

    def readout(self, state, u):
        return state.h
