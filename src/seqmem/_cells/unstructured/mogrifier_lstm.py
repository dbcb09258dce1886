import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.validation import check_count, check_sizes
from ..gated.lstm import LSTMState
from ..initialisers import gate_biases, gate_matrices, lecun_normal


class MogrifierLSTM(AbstractCell):
    """LSTM before which the input and the state scale one another, in turns.

        x ← 2 σ(Q_i h) ∘ x                                  in rounds 1, 3, …
        h ← 2 σ(R_i x) ∘ h                                  in rounds 2, 4, …
        i_t, f_t, o_t = σ(W x + U h + b)                    input, forget and output gate
        g_t = tanh(W_g x + U_g h + b_g)                     candidate, gate "cell"
        c_t = f_t ∘ c_{t−1} + i_t ∘ g_t
        h_t = o_t ∘ tanh(c_t)
        y_t = h_t

    Shapes: x (input,), h, c and y (hidden,); Q (⌈rounds / 2⌉, input, hidden), R (⌊rounds / 2⌋,
    hidden, input). Cost per step: O(hidden · (rounds · input + hidden)), all of it sequential, in
    rounds + 1 products, one after the other.
    Source: Melis, Kočiský & Blunsom 2019, arXiv:1909.01792; of the paper the paragraph was read
    that defines the two sequences of x and h, as paperswithcode.com quotes it. The authors'
    program, google-deepmind/lamb (tiled_lstm.py), adds a bias to Q_i h and R_i x and by default
    bounds i_t by 1 − f_t. Differs: Q and R have full rank; each U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of h and of c, > 0.
        rounds: how often x and h are scaled, >= 0; 0 is an LSTM.
        forget_bias: initial bias of the forget gate.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or rounds below 0.
    """

    recurrent_weights: ClassVar = ("Q", "U")

    Q: Float[Array, "odd input hidden"]
    R: Float[Array, "even hidden input"]
    W: Float[Array, "4 hidden input"]
    U: Float[Array, "4 hidden hidden"]
    b: Float[Array, "4 hidden"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        rounds: int = 5,
        forget_bias: float = 1.0,
        key: PRNGKeyArray,
    ):
        check_sizes("MogrifierLSTM", input_size=input_size, hidden_size=hidden_size)
        check_count("MogrifierLSTM", "rounds", rounds, at_least=0)
        keys = jax.random.split(key, 3)
        self.Q = lecun_normal(keys[0], ((rounds + 1) // 2, input_size, hidden_size))
        self.R = lecun_normal(keys[1], (rounds // 2, hidden_size, input_size))
        self.W, self.U = gate_matrices(
            keys[2], (4, hidden_size, input_size), (4, hidden_size, hidden_size)
        )
        self.b = gate_biases(("input", "forget", "cell", "output"), hidden_size, forget=forget_bias)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return LSTMState(*(jnp.zeros(size, dtype) for _ in LSTMState._fields))

    def project(self, x):
        return x

    def update(self, state, x):
        h = state.h
        for Q, R in itertools.zip_longest(self.Q, self.R):
            x = 2 * sigmoid(h @ Q.mT) * x
            h = h if R is None else 2 * sigmoid(x @ R.mT) * h
        i, f, g, o = x @ self.W.mT + h @ self.U.mT + self.b
        c = sigmoid(f) * state.c + sigmoid(i) * jnp.tanh(g)
        return LSTMState(sigmoid(o) * jnp.tanh(c), c)

    def readout(self, state, x):
        return state.h
