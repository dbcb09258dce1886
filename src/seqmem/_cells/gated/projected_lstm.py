from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_biases, gate_matrices, lecun_normal
from .family import AbstractGatedCell


class ProjectedLSTMState(NamedTuple):
    """The state of a projected LSTM: m, the output before its projection, and the memory c."""

    m: Float[Array, " hidden"]
    c: Float[Array, " hidden"]


class ProjectedLSTM(AbstractGatedCell):
    """LSTM whose output and recurrent input is a projection: a large memory with few recurrent
    weights.

        r_{t−1} = R m_{t−1}
        i_t, f_t, o_t = σ(W x_t + U r_{t−1} + b)
        c_t = f_t ∘ c_{t−1} + i_t ∘ tanh(W_g x_t + U_g r_{t−1} + b_g)
        m_t = o_t ∘ tanh(c_t)
        y_t = r_t = R m_t

    Shapes: x (input,), m and c (hidden,), r and y (output,). Cost per step: O(hidden · (input +
    output)), of which O(hidden · output) is sequential, in two products.
    Source: Sak, Senior & Beaufays 2014, arXiv:1402.1128, equations 7–12. Differs: no peepholes and
    no second, non-recurrent projection (PyTorch's form); the state holds m, from which r is one
    product, so that the recurrence stays linear before its gates; each U has orthonormal rows or
    columns at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of m and of c, > 0.
        output_size: features of the projection, > 0.
        forget_bias: initial bias of the forget gate.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("input", "forget", "cell", "output")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "4 hidden input"]
    U: Float[Array, "4 hidden output"]
    b: Float[Array, "4 hidden"]
    R: Float[Array, "output hidden"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        output_size: int,
        forget_bias: float = 1.0,
        key: PRNGKeyArray,
    ):
        check_sizes(
            "ProjectedLSTM",
            input_size=input_size,
            hidden_size=hidden_size,
            output_size=output_size,
        )
        gate_key, projection_key = jax.random.split(key)
        self.W, self.U = gate_matrices(
            gate_key, (4, hidden_size, input_size), (4, hidden_size, output_size)
        )
        self.b = gate_biases(self.gates, hidden_size, forget=forget_bias)
        self.R = lecun_normal(projection_key, (output_size, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return ProjectedLSTMState(*(jnp.zeros(size, dtype) for _ in ProjectedLSTMState._fields))

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
