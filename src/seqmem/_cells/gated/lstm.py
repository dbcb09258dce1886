from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import lecun_normal, orthogonal
from .family import AbstractGatedCell


class LSTMState(NamedTuple):
    """What an LSTM carries: h is what it shows, c is what it remembers."""

    h: Float[Array, " hidden"]
    c: Float[Array, " hidden"]


class LSTM(AbstractGatedCell):
    """Long short-term memory: a memory c that is only ever scaled and added to, behind three gates.

        i_t, f_t, o_t = σ(W x_t + U h_{t−1} + b)        input, forget and output gate
        g_t = tanh(W_g x_t + U_g h_{t−1} + b_g)         the new content, gate "cell"
        c_t = f_t ∘ c_{t−1} + i_t ∘ g_t
        h_t = o_t ∘ tanh(c_t)
        y_t = h_t

    Shapes: x (input,), h, c and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential.
    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8); the forget gate is of Gers,
    Schmidhuber & Cummins 2000, Neural Computation 12(10). Differs: no peepholes; every U is
    orthogonal at the start.

    Args:
        input_size: entries of one input, > 0.
        hidden_size: entries of h and of c, > 0.
        forget_bias: of the forget gate at the start; positive, so that the memory is kept until
            training says otherwise. See `seqmem.with_chrono_bias` for lags that are known.
        key: for the initial parameters.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), jax.numpy.ones((7, 3)))
        >>> state.c.shape, ys.shape
        ((5,), (7, 5))
    """

    gates: ClassVar = ("input", "forget", "cell", "output")

    W: Float[Array, "4 hidden input"]
    U: Float[Array, "4 hidden hidden"]
    b: Float[Array, "4 hidden"]
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
        c = sigmoid(f) * state.c + sigmoid(i) * jnp.tanh(g)
        return LSTMState(sigmoid(o) * jnp.tanh(c), c)

    def readout(self, state, u):
        return state.h
