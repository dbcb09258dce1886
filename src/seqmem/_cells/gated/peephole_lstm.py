from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import lecun_normal, orthogonal
from .family import AbstractGatedCell
from .lstm import LSTMState


class PeepholeLSTM(AbstractGatedCell):
    """An LSTM whose gates see the memory itself, which helps it to measure time.

        i_t = σ(W_i x_t + U_i h_{t−1} + p_i ∘ c_{t−1} + b_i)
        f_t = σ(W_f x_t + U_f h_{t−1} + p_f ∘ c_{t−1} + b_f)
        c_t = f_t ∘ c_{t−1} + i_t ∘ tanh(W_g x_t + U_g h_{t−1} + b_g)
        o_t = σ(W_o x_t + U_o h_{t−1} + p_o ∘ c_t + b_o)
        h_t = o_t ∘ tanh(c_t)
        y_t = h_t

    Shapes: x (input,), h, c and y (hidden,); p (3, hidden): input, forget, output. Cost per step:
    as LSTM.
    Source: Graves 2013, arXiv:1308.0850, equations 7–11, after Gers, Schraudolph & Schmidhuber
    2002, JMLR 3. Differs: p is 0 at the start, so the first step of training is an LSTM's.

    Args:
        input_size: entries of one input, > 0.
        hidden_size: entries of h and of c, > 0.
        forget_bias: of the forget gate at the start.
        key: for the initial parameters.
    """

    gates: ClassVar = ("input", "forget", "cell", "output")

    W: Float[Array, "4 hidden input"]
    U: Float[Array, "4 hidden hidden"]
    b: Float[Array, "4 hidden"]
    p: Float[Array, "3 hidden"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float = 1.0,
        key: PRNGKeyArray,
    ):
        input_key, recurrent_key = jax.random.split(key)
        self.W = lecun_normal(input_key, (4, hidden_size, input_size))
        self.U = orthogonal(recurrent_key, (4, hidden_size, hidden_size))
        self.b = jnp.zeros((4, hidden_size)).at[self.gates.index("forget")].set(forget_bias)
        self.p = jnp.zeros((3, hidden_size))
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size

    def init_state(self):
        dtype = state_dtype(self.b)
        return LSTMState(jnp.zeros(self.hidden_size, dtype), jnp.zeros(self.hidden_size, dtype))

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
