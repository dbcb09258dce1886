from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_biases, gate_matrices
from .family import AbstractGatedCell
from .lstm import LSTMState


class PeepholeLSTM(AbstractGatedCell):
    """LSTM with peepholes: the gates also see the memory c, which helps to measure time.

        i_t = σ(W_i x_t + U_i h_{t−1} + p_i ∘ c_{t−1} + b_i)
        f_t = σ(W_f x_t + U_f h_{t−1} + p_f ∘ c_{t−1} + b_f)
        c_t = f_t ∘ c_{t−1} + i_t ∘ tanh(W_g x_t + U_g h_{t−1} + b_g)
        o_t = σ(W_o x_t + U_o h_{t−1} + p_o ∘ c_t + b_o)
        h_t = o_t ∘ tanh(c_t)
        y_t = h_t

    Shapes: x (input,), h, c and y (hidden,); p (3, hidden): input, forget, output. Cost per step:
    O(hidden · (input + hidden)), of which O(hidden²) is sequential.
    Source: Graves 2013, arXiv:1308.0850, equations 7–11, after Gers, Schraudolph & Schmidhuber
    2002, JMLR 3. Differs: p is 0 at the start, so the first step of training is an LSTM's; each U
    is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of h and of c, > 0.
        forget_bias: initial bias of the forget gate.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("input", "forget", "cell", "output")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "4 hidden input"]
    U: Float[Array, "4 hidden hidden"]
    b: Float[Array, "4 hidden"]
    p: Float[Array, "3 hidden"]

    def __init__(
        self, input_size: int, hidden_size: int, *, forget_bias: float = 1.0, key: PRNGKeyArray
    ):
        check_sizes("PeepholeLSTM", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = gate_matrices(
            key, (4, hidden_size, input_size), (4, hidden_size, hidden_size)
        )
        self.b = gate_biases(self.gates, hidden_size, forget=forget_bias)
        self.p = jnp.zeros((3, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return LSTMState(*(jnp.zeros(size, dtype) for _ in LSTMState._fields))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, state, u):
        return state.h @ self.U.mT + u

    def gate(self, state, z):
        i, f, g, o = z
        p_i, p_f, p_o = self.p
        c = sigmoid(f + p_f * state.c) * state.c + sigmoid(i + p_i * state.c) * jnp.tanh(g)
        return LSTMState(sigmoid(o + p_o * c) * jnp.tanh(c), c)

    def readout(self, state, u):
        return state.h
