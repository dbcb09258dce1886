from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.timed import Timed
from ..._core.validation import check_sizes
from ..gated.lstm import LSTMState
from ..initialisers import gate_biases, gate_matrices, lecun_normal


class ODELSTM(AbstractCell):
    """ODE-LSTM: an LSTM whose hidden state follows a learned differential equation for the time Δt,
    while its memory c stays as it is.

        i_t, f_t, o_t = σ(W x_t + U h_{t−1} + b)        input, forget and output gate
        g_t = tanh(W_g x_t + U_g h_{t−1} + b_g)         candidate, gate "cell"
        c_t = f_t ∘ c_{t−1} + i_t ∘ g_t
        h_t = h(Δt_t),  dh/dt = V_2 tanh(V_1 h + e_1) + e_2,  h(0) = o_t ∘ tanh(c_t)
        y_t = h_t

    where h(Δt) is found in `num_steps` equal steps of the classical Runge-Kutta rule of order 4.
    The input is `seqmem.Timed(x, delta_t)`.

    Shapes: x (input,), Δt (), h, c and y (hidden,). Cost per step: O(hidden · (input + num_steps ·
    hidden)), of which O(num_steps · hidden²) is sequential, in 1 + 8 · num_steps products, one
    after the other.
    Source: Lechner & Hasani 2020, arXiv:2006.04418, as in the authors' program for PyTorch,
    mlech26l/ode-lstms, with its solver "fixed_rk4", from which the equations are taken; the paper's
    text was not read. Differs: the forget gate's bias is 1 and each U orthogonal at the start, and
    V_2 and e_2 are 0, so that h stays as it is.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of h and of c, > 0.
        num_steps: steps of the solver in each Δt, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.ODELSTM(3, 5, key=jax.random.key(0))
        >>> xs = seqmem.Timed(jnp.ones((7, 3)), jnp.linspace(0.1, 2, 7))
        >>> seqmem.unroll(cell, None, xs)[1].shape
        (7, 5)
    """

    gates: ClassVar = ("input", "forget", "cell", "output")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "4 hidden input"]
    U: Float[Array, "4 hidden hidden"]
    b: Float[Array, "4 hidden"]
    V: Float[Array, "2 hidden hidden"]
    e: Float[Array, "2 hidden"]
    num_steps: int = eqx.field(static=True)

    def __init__(self, input_size: int, hidden_size: int, *, num_steps: int = 3, key: PRNGKeyArray):
        check_sizes("ODELSTM", input_size=input_size, hidden_size=hidden_size, num_steps=num_steps)
        lstm_key, flow_key = jax.random.split(key)
        self.W, self.U = gate_matrices(
            lstm_key, (4, hidden_size, input_size), (4, hidden_size, hidden_size)
        )
        self.b = gate_biases(self.gates, hidden_size, forget=1.0)
        first = lecun_normal(flow_key, (hidden_size, hidden_size))
        self.V = jnp.stack([first, jnp.zeros_like(first)])
        self.e = jnp.zeros((2, hidden_size))
        self.num_steps = num_steps

    @property
    def input_shape(self):
        return Timed(self.W.shape[-1:], ())

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return LSTMState(*(jnp.zeros(size, dtype) for _ in LSTMState._fields))

    def project(self, x):
        return x.x @ self.W.mT + self.b, x.delta_t

    def update(self, state, u):
        u, delta_t = u
        i, f, g, o = state.h @ self.U.mT + u
        c = sigmoid(f) * state.c + sigmoid(i) * jnp.tanh(g)
        return LSTMState(self.flow(sigmoid(o) * jnp.tanh(c), delta_t), c)

    def flow(
        self, h: Float[Array, " hidden"], delta_t: Float[Array, ""]
    ) -> Float[Array, " hidden"]:
        """h(Δt), from h(0)."""
        delta = delta_t / self.num_steps

        def slope(h: Array) -> Array:
            return jnp.tanh(h @ self.V[0].mT + self.e[0]) @ self.V[1].mT + self.e[1]

        def step(h: Array, _: None) -> tuple[Array, None]:
            k1 = slope(h)
            k2 = slope(h + 0.5 * delta * k1)
            k3 = slope(h + 0.5 * delta * k2)
            k4 = slope(h + delta * k3)
            return h + delta / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        return jax.lax.scan(step, h, length=self.num_steps)[0]

    def readout(self, state, u):
        return state.h
