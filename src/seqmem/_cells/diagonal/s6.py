import jax
import jax.numpy as jnp
from jax.nn import softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import softplus_bias, uniform_fan_in
from .family import AbstractDiagonalCell


class S6(AbstractDiagonalCell):
    """Selective state space model (S6, the core of Mamba): one real diagonal system per channel,
    whose time step Δ, input weights B and output weights C depend on the input.

        A = −exp(A_log)                                              [input, state]
        Δ_t = softplus(W_Δ V_Δ x_t + b),  B_t = W_B x_t,  C_t = W_C x_t
        s_t[d, n] = exp(Δ_t[d] A[d, n]) s_{t−1}[d, n] + Δ_t[d] B_t[n] x_t[d]
        y_t[d] = Σ_n C_t[n] s_t[d, n] + D[d] x_t[d]

    Shapes: x, y and Δ (input,), s (input, state), B_t and C_t (state,). Cost per step: O(input ·
    (state + rank)), of which O(input · state) is sequential. The drive has 2 (input + state)
    entries; arrays as large as the state exist within a step only.
    Source: Gu & Dao 2023, arXiv:2312.00752, algorithm 2 and section 3.6: the block between Mamba's
    convolution and its gate. Differs from the paper as its code does: B is discretised by Euler's
    rule, Δ_t B_t, not by zero-order hold (equation 4), and softplus(b) is log-uniform in [0.001,
    0.1] at the start, not uniform. At the start A is −1, ..., −state, D is 1, and the matrices are
    uniform in ±1/√columns.

    Args:
        input_size: channels: features of one input and of one output, > 0.
        state_size: features of one channel's state, > 0.
        rank: rank of W_Δ V_Δ, > 0; None is input_size / 16, rounded up.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    V_delta: Float[Array, "rank input"]
    W_delta: Float[Array, "input rank"]
    b: Float[Array, " input"]
    W_B: Float[Array, "state input"]
    W_C: Float[Array, "state input"]
    A_log: Float[Array, "input state"]
    D: Float[Array, " input"]

    def __init__(
        self, input_size: int, state_size: int, *, rank: int | None = None, key: PRNGKeyArray
    ):
        check_sizes("S6", input_size=input_size, state_size=state_size)
        rank = -(-input_size // 16) if rank is None else rank
        check_sizes("S6", rank=rank)
        keys = jax.random.split(key, 5)
        self.V_delta = uniform_fan_in(keys[0], (rank, input_size))
        self.W_delta = uniform_fan_in(keys[1], (input_size, rank))
        self.W_B = uniform_fan_in(keys[2], (state_size, input_size))
        self.W_C = uniform_fan_in(keys[3], (state_size, input_size))
        self.b = softplus_bias(keys[4], input_size, 1e-3, 1e-1)
        self.A_log = jnp.tile(jnp.log(jnp.arange(1.0, state_size + 1)), (input_size, 1))
        self.D = jnp.ones(input_size)

    @property
    def input_shape(self):
        return self.D.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.A_log.shape[-2:], state_dtype(self.D))

    def project(self, x):
        delta = softplus(x @ self.V_delta.mT @ self.W_delta.mT + self.b)
        return delta, x, x @ self.W_B.mT, x @ self.W_C.mT

    def update(self, s, u):
        delta, x, B, _ = u
        return jnp.exp(-jnp.exp(self.A_log) * delta[:, None]) * s + (delta * x)[:, None] * B

    def readout(self, s, u):
        _, x, _, C = u
        return s @ C + self.D * x
