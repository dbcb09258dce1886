from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_heads, check_sizes
from ..initialisers import gate_biases, gate_matrices
from .family import AbstractGatedCell


class SLSTMState(NamedTuple):
    """The state of an sLSTM: the hidden state h, which is the output, the memory c and the
    normaliser n, both divided by exp(m), and the stabiliser m.
    """

    h: Float[Array, " hidden"]
    c: Float[Array, " hidden"]
    n: Float[Array, " hidden"]
    m: Float[Array, " hidden"]


class SLSTM(AbstractGatedCell):
    """Scalar LSTM (sLSTM): an LSTM with an exponential input gate, a normaliser, and recurrent
    weights within heads.

        z_t = tanh(W_z x_t + U_z h_{t−1} + b_z)                        candidate, gate "cell"
        i_t = exp(ĩ_t),  f_t = σ(f̃_t),  o_t = σ(õ_t)                   ĩ, f̃ and õ of the same form
        c_t = f_t ∘ c_{t−1} + i_t ∘ z_t,    n_t = f_t ∘ n_{t−1} + i_t
        h_t = o_t ∘ c_t / n_t,    y_t = h_t

    The state holds c and n divided by exp(m_t), m_t = max(ln f_t + m_{t−1}, ĩ_t), so that no gate
    overflows. Each U is block-diagonal: one block per head.

    Shapes: x (input,), h, c, n, m and y (hidden,). Cost per step: O(hidden · (input +
    hidden / heads)), of which O(hidden² / heads) is sequential.
    Source: Beck et al. 2024, arXiv:2405.04517, equations 8 to 17, with σ in 13. Differs: each block
    of U is orthogonal at the start (in the authors' code, NX-AI/xlstm, U is 0, and b of the forget
    gate goes from 5 to −7 within a head); the convolution and the norm of the paper's block are not
    part of the cell.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of h, > 0, a multiple of num_heads.
        num_heads: heads, > 0.
        forget_bias: initial bias of the forget gate.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or heads that do not divide
            the hidden size.
    """

    gates: ClassVar = ("input", "forget", "cell", "output")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "4 hidden input"]
    U: Float[Array, "4 heads size size"]
    b: Float[Array, "4 hidden"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int = 1,
        forget_bias: float = 1.0,
        key: PRNGKeyArray,
    ):
        check_sizes("SLSTM", input_size=input_size, hidden_size=hidden_size)
        check_heads("SLSTM", hidden_size, num_heads)
        size = hidden_size // num_heads
        self.W, self.U = gate_matrices(
            key, (4, hidden_size, input_size), (4, num_heads, size, size)
        )
        self.b = gate_biases(self.gates, hidden_size, forget=forget_bias)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return SLSTMState(*(jnp.zeros(size, dtype) for _ in SLSTMState._fields))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, state, u):
        heads = state.h.reshape(self.U.shape[1], 1, -1)
        return (heads @ self.U.mT).reshape(u.shape) + u

    def gate(self, state, z):
        i, f, z, o = z
        log_decay = log_sigmoid(f) + state.m
        m = jnp.maximum(log_decay, i)
        decay, gain = jnp.exp(log_decay - m), jnp.exp(i - m)
        c = decay * state.c + gain * jnp.tanh(z)
        n = decay * state.n + gain
        # n is 0 where exp(ĩ) underflowed at every step so far. Where its square would, in the
        # derivative of c / n, both are multiplied by a power of two.
        root = float(jnp.finfo(n.dtype).tiny) ** 0.5
        factor = jnp.where(n < root, 1 / root, 1)
        h = sigmoid(o) * (c * factor) / jnp.where(n == 0, 1, n * factor)
        return SLSTMState(h, c, n, m)

    def readout(self, state, u):
        return state.h
