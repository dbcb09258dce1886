from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_biases
from ..matrices.structure import AbstractStructure, StructuredMatrix, recurrent_matrices
from .family import AbstractGatedCell


class LSTMState(NamedTuple):
    """The state of an LSTM: the hidden state h, which is the output, and the memory c."""

    h: Float[Array, " hidden"]
    c: Float[Array, " hidden"]


class LSTM(AbstractGatedCell):
    """Long short-term memory: gates control what enters the memory c, what remains and what is
    output.

        i_t, f_t, o_t = σ(W x_t + U h_{t−1} + b)        input, forget and output gate
        g_t = tanh(W_g x_t + U_g h_{t−1} + b_g)         candidate, gate "cell"
        c_t = f_t ∘ c_{t−1} + i_t ∘ g_t
        h_t = o_t ∘ tanh(c_t)
        y_t = h_t

    Shapes: x (input,), h, c and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential.
    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), doi:10.1162/neco.1997.9.8.1735;
    the forget gate is from Gers, Schmidhuber & Cummins 2000, Neural Computation 12(10),
    doi:10.1162/089976600300015015. Differs: no peepholes; each U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of h and of c, > 0.
        forget_bias: initial bias of the forget gate; a positive one keeps the memory until training
            changes it. See `seqmem.with_chrono_bias` for known time lags.
        recurrent: the structure of each U, such as `seqmem.LowRank(3)`; None is any matrix.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or a structure that U
            cannot have.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
        >>> state.c.shape, ys.shape
        ((5,), (7, 5))
    """

    gates: ClassVar = ("input", "forget", "cell", "output")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "4 hidden input"]
    U: Float[Array, "4 hidden hidden"] | StructuredMatrix
    b: Float[Array, "4 hidden"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float = 1.0,
        recurrent: AbstractStructure | None = None,
        key: PRNGKeyArray,
    ):
        check_sizes("LSTM", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = recurrent_matrices(
            "LSTM", recurrent, key, (4, hidden_size, input_size), (4, hidden_size, hidden_size)
        )
        self.b = gate_biases(self.gates, hidden_size, forget=forget_bias)

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
        c = sigmoid(f) * state.c + sigmoid(i) * jnp.tanh(g)
        return LSTMState(sigmoid(o) * jnp.tanh(c), c)

    def readout(self, state, u):
        return state.h
