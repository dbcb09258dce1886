from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..initialisers import lecun_normal, orthogonal
from .family import AbstractGatedCell


class SLSTMState(NamedTuple):
    """What an sLSTM carries: h is what it shows; c and n, over exp(m), are what it remembers and
    the sum of the weights in it.
    """

    h: Float[Array, " hidden"]
    c: Float[Array, " hidden"]
    n: Float[Array, " hidden"]
    m: Float[Array, " hidden"]


class SLSTM(AbstractGatedCell):
    """Scalar LSTM: an exponential input gate, a normaliser, and units that mix within heads only.

        z_t = tanh(W_z x_t + U_z h_{t−1} + b_z)                        the new content, gate "cell"
        i_t = exp(ĩ_t),  f_t = σ(f̃_t),  o_t = σ(õ_t)                   with ĩ, f̃, õ of the same form
        c_t = f_t ∘ c_{t−1} + i_t ∘ z_t,    n_t = f_t ∘ n_{t−1} + i_t
        h_t = o_t ∘ c_t / n_t,    y_t = h_t

    c and n are held over exp(m_t), m_t = max(ln f_t + m_{t−1}, ĩ_t), so that no gate overflows.
    Each U is block-diagonal: one block per head.

    Shapes: x (input,), h, c, n, m and y (hidden,). Cost per step: O(hidden · (input +
    hidden / heads)), of which O(hidden² / heads) is sequential.
    Source: Beck et al. 2024, arXiv:2405.04517, equations 8 to 17, with σ in 13. Differs: at the
    start every block of U is orthogonal (in the authors' code, NX-AI/xlstm, U is 0, and b of the
    forget gate goes from 5 to −7 within a head); the convolution and the norm of its block stand
    around the cell.

    Args:
        input_size: entries of one input, > 0.
        hidden_size: entries of h, shared evenly by the heads.
        heads: > 0.
        forget_bias: of the forget gate at the start.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size.
    """

    gates: ClassVar = ("input", "forget", "cell", "output")

    W: Float[Array, "4 hidden input"]
    U: Float[Array, "4 heads size size"]
    b: Float[Array, "4 hidden"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        heads: int = 1,
        *,
        forget_bias: float = 1.0,
        key: PRNGKeyArray,
    ):
        if heads < 1 or hidden_size % heads:
            raise bad_input(
                f"SLSTM got {heads} heads for a hidden size of {hidden_size}.",
                "at least one head, and a hidden size that they divide evenly.",
                "choose a number of heads that divides the hidden size.",
            )
        size = hidden_size // heads
        input_key, recurrent_key = jax.random.split(key)
        self.W = lecun_normal(input_key, (4, hidden_size, input_size))
        self.U = orthogonal(recurrent_key, (4, heads, size, size))
        self.b = jnp.zeros((4, hidden_size)).at[self.gates.index("forget")].set(forget_bias)
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size

    def init_state(self):
        zeros = [jnp.zeros(self.hidden_size, state_dtype(self.b)) for _ in SLSTMState._fields]
        return SLSTMState(*zeros)

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, state, u):
        heads = state.h.reshape(self.U.shape[1], 1, -1)
        return (heads @ self.U.mT).reshape(u.shape) + u

    def gate(self, state, z):
        i, f, z, o = z
        kept = log_sigmoid(f) + state.m
        m = jnp.maximum(kept, i)
        keep, enter = jnp.exp(kept - m), jnp.exp(i - m)
        c = keep * state.c + enter * jnp.tanh(z)
        n = keep * state.n + enter
        # n is 0 where exp(ĩ) of all steps so far is too small to be held.
        return SLSTMState(sigmoid(o) * c / jnp.where(n == 0, 1, n), c, n, m)

    def readout(self, state, u):
        return state.h
