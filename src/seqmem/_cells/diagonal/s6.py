import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import softplus_bias
from .family import AbstractDiagonalCell


class S6(AbstractDiagonalCell):
    """Selective state space: every channel has a state of its own, and the input says for how long
    each step lasts, what enters and what is read.

        A = −exp(A_log)                                              [input, state]
        Δ_t = softplus(W_Δ V_Δ x_t + b),  B_t = W_B x_t,  C_t = W_C x_t
        s_t[d, n] = exp(Δ_t[d] A[d, n]) s_{t−1}[d, n] + Δ_t[d] B_t[n] x_t[d]
        y_t[d] = Σ_n C_t[n] s_t[d, n] + D[d] x_t[d]

    Shapes: x, y and Δ (input,), s (input, state), B_t and C_t (state,). Cost per step: O(input ·
    (state + rank)), of which O(input · state) is sequential. The drive has 2 (input + state)
    entries: what is as large as the state is made within the step.
    Source: Gu & Dao 2023, arXiv:2312.00752, algorithm 2 and section 3.6: the core of Mamba, between
    its convolution and its gate. Differs from the paper as its code does: what enters is
    discretised by Euler's rule, Δ_t B_t, and not by zero-order hold (equation 4), and softplus(b)
    is log-uniform on [0.001, 0.1] at the start, not uniform. A starts as −1, ..., −state.

    Args:
        input_size: entries of one input and of one output: the channels, > 0.
        state_size: entries of one channel's state, > 0.
        rank: of the matrix that makes Δ, > 0; None is input_size / 16, rounded up.
        key: for the initial parameters.
    """

    V_delta: Float[Array, "rank input"]
    W_delta: Float[Array, "input rank"]
    b: Float[Array, " input"]
    W_B: Float[Array, "state input"]
    W_C: Float[Array, "state input"]
    A_log: Float[Array, "input state"]
    D: Float[Array, " input"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    state_size: int = eqx.field(static=True)

    def __init__(
        self, input_size: int, state_size: int, *, rank: int | None = None, key: PRNGKeyArray
    ):
        rank = -(-input_size // 16) if rank is None else rank
        keys = jax.random.split(key, 5)

        def uniform(key: PRNGKeyArray, shape: tuple[int, int]) -> Array:
            bound = 1 / math.sqrt(shape[1])
            return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

        self.V_delta = uniform(keys[0], (rank, input_size))
        self.W_delta = uniform(keys[1], (input_size, rank))
        self.W_B = uniform(keys[2], (state_size, input_size))
        self.W_C = uniform(keys[3], (state_size, input_size))
        self.b = softplus_bias(keys[4], input_size, 1e-3, 1e-1)
        self.A_log = jnp.tile(jnp.log(jnp.arange(1.0, state_size + 1)), (input_size, 1))
        self.D = jnp.ones(input_size)
        self.input_shape = (input_size,)
        self.state_size = state_size

    def init_state(self):
        return jnp.zeros((self.input_shape[0], self.state_size), state_dtype(self.D))

    def project(self, x):
        delta = softplus(x @ self.V_delta.mT @ self.W_delta.mT + self.b)
        return delta, x, x @ self.W_B.mT, x @ self.W_C.mT

    def update(self, s, u):
        delta, x, B, _ = u
        return jnp.exp(-jnp.exp(self.A_log) * delta[:, None]) * s + (delta * x)[:, None] * B

    def readout(self, s, u):
        _, x, _, C = u
        return s @ C + self.D * x
