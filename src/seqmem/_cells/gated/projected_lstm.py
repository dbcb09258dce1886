from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import lecun_normal, orthogonal
from .family import AbstractGatedCell


class ProjectedLSTMState(NamedTuple):
    """What a projected LSTM carries: m is its output before the projection, c is what it
    remembers.
    """

    m: Float[Array, " hidden"]
    c: Float[Array, " hidden"]


class ProjectedLSTM(AbstractGatedCell):
    """An LSTM that shows, and sees of itself, a projection: a large memory with few recurrent
    weights.

        r_{t−1} = R m_{t−1}
        i_t, f_t, o_t = σ(W x_t + U r_{t−1} + b)
        c_t = f_t ∘ c_{t−1} + i_t ∘ tanh(W_g x_t + U_g r_{t−1} + b_g)
        m_t = o_t ∘ tanh(c_t)
        y_t = r_t = R m_t

    Shapes: x (input,), m and c (hidden,), r and y (output,). Cost per step: O(hidden · (input +
    output)), of which O(hidden · output) is sequential, in two products.
    Source: Sak, Senior & Beaufays 2014, arXiv:1402.1128, equations 7–12. Differs: no peepholes and
    no second, non-recurrent projection (PyTorch's form); the state keeps m, from which r is one
    product, so that the recurrence stays linear before its gates.

    Args:
        input_size: entries of one input, > 0.
        hidden_size: entries of c, > 0.
        output_size: entries of the projection, > 0.
        forget_bias: of the forget gate at the start.
        key: for the initial parameters.
    """

    gates: ClassVar = ("input", "forget", "cell", "output")

    W: Float[Array, "4 hidden input"]
    U: Float[Array, "4 hidden output"]
    b: Float[Array, "4 hidden"]
    R: Float[Array, "output hidden"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        forget_bias: float = 1.0,
        key: PRNGKeyArray,
    ):
        keys = jax.random.split(key, 3)
        self.W = lecun_normal(keys[0], (4, hidden_size, input_size))
        self.U = orthogonal(keys[1], (4, hidden_size, output_size))
        self.b = jnp.zeros((4, hidden_size)).at[self.gates.index("forget")].set(forget_bias)
        self.R = lecun_normal(keys[2], (output_size, hidden_size))
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size

    def init_state(self):
        dtype = state_dtype(self.b)
        return ProjectedLSTMState(
            jnp.zeros(self.hidden_size, dtype), jnp.zeros(self.hidden_size, dtype)
        )

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, state, u):
        return (state.m @ self.R.mT) @ self.U.mT + u

    def gate(self, state, z):
        i, f, g, o = z
        c = sigmoid(f) * state.c + sigmoid(i) * jnp.tanh(g)
        return ProjectedLSTMState(sigmoid(o) * jnp.tanh(c), c)

    def readout(self, state, u):
        return state.m @ self.R.mT
