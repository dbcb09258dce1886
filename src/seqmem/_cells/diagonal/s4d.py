import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import normal, uniform_log
from ..zero_order_hold import zero_order_hold
from .family import AbstractDiagonalCell


class S4D(AbstractDiagonalCell):
    """Diagonal state space model (S4D): one complex diagonal linear system per channel, discretised
    with time step Δ.

        A = −exp(A_log) + i A_imag,  Δ = exp(log_Δ),  C = C_re + i C_im
        s_t[d, n] = exp(Δ[d] A[d, n]) s_{t−1}[d, n] + (exp(Δ[d] A[d, n]) − 1) / A[d, n] · x_t[d]
        y_t[d] = 2 Re(Σ_n C[d, n] s_t[d, n]) + D[d] x_t[d]

    Each entry of s stands for a conjugate pair, hence the factor 2 and the real part.

    Shapes: x, y, Δ and D (input,), s, A and C (input, state). Cost per step: O(input · state), all
    of it sequential.
    Source: Gu et al. 2022, arXiv:2206.11893, S4D-Lin by zero-order hold, with B = 1 (only the
    product of B and C counts, and C is learned) and a real part of A that stays below 0. As in
    their code, state-spaces/s4, A[d, n] = −½ + iπn at the start, Δ is log-uniform in [0.001, 0.1),
    C is normal with E|C|² = 1, and D is standard normal. Differs: none.

    Args:
        input_size: channels: features of one input and of one output, > 0.
        state_size: complex entries of one channel's state, > 0; half of the paper's N.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    A_log: Float[Array, "input state"]
    A_imag: Float[Array, "input state"]
    C: Float[Array, "2 input state"]
    D: Float[Array, " input"]
    log_delta: Float[Array, " input"]

    def __init__(self, input_size: int, state_size: int, *, key: PRNGKeyArray):
        check_sizes("S4D", input_size=input_size, state_size=state_size)
        C_key, D_key, delta_key = jax.random.split(key, 3)
        self.A_log = jnp.full((input_size, state_size), math.log(0.5))
        self.A_imag = jnp.tile(math.pi * jnp.arange(float(state_size)), (input_size, 1))
        self.C = normal(C_key, (2, input_size, state_size)) / math.sqrt(2)
        self.D = normal(D_key, (input_size,))
        self.log_delta = uniform_log(delta_key, (input_size,), 1e-3, 1e-1)

    @property
    def input_shape(self):
        return self.D.shape[-1:]

    def init_state(self):
        zeros = jnp.zeros(self.A_log.shape[-2:], state_dtype(self.D))
        return jax.lax.complex(zeros, zeros)

    def project(self, x):
        return x

    def update(self, s, x):
        return self.update_over(s, x, 1.0)

    def update_over(self, s, x, delta_t):
        A = jax.lax.complex(-jnp.exp(self.A_log), self.A_imag)
        decay, gain = zero_order_hold(A, (delta_t * jnp.exp(self.log_delta))[:, None])
        return decay * s + gain * x[:, None].astype(s.dtype)

    def readout(self, s, x):
        return 2 * (self.C[0] * s.real - self.C[1] * s.imag).sum(-1) + self.D * x
