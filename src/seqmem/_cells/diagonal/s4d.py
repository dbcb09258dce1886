import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import uniform_log
from .family import AbstractDiagonalCell


class S4D(AbstractDiagonalCell):
    """Diagonal structured state space: every channel is a linear system in continuous time of its
    own, diagonal and complex, looked at in steps of Δ.

        A = −exp(A_log) + i A_imag,  Δ = exp(log_Δ),  C = C_re + i C_im
        s_t[d, n] = exp(Δ[d] A[d, n]) s_{t−1}[d, n] + (exp(Δ[d] A[d, n]) − 1) / A[d, n] · x_t[d]
        y_t[d] = 2 Re(Σ_n C[d, n] s_t[d, n]) + D[d] x_t[d]

    The real system has two states for each entry of s, which stands for itself and its conjugate.

    Shapes: x, y, Δ and D (input,), s, A and C (input, state). Cost per step: O(input · state), all
    of it sequential. The drive is the input itself.
    Source: Gu et al. 2022, arXiv:2206.11893, S4D-Lin by zero-order hold, with B = 1 (only the
    product of B and C counts, and C is learned) and a real part of A that stays below 0. As in
    their code, state-spaces/s4, A[d, n] = −½ + iπn at the start, log Δ is uniform, and E|C|² = 1.
    Differs: none.

    Args:
        input_size: entries of one input and of one output: the channels, > 0.
        state_size: entries of one channel's state, complex, > 0; half of what the paper calls N.
        key: for the initial parameters.
    """

    A_log: Float[Array, "input state"]
    A_imag: Float[Array, "input state"]
    C: Float[Array, "2 input state"]
    D: Float[Array, " input"]
    log_delta: Float[Array, " input"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    state_size: int = eqx.field(static=True)

    def __init__(self, input_size: int, state_size: int, *, key: PRNGKeyArray):
        C_key, D_key, delta_key = jax.random.split(key, 3)
        self.A_log = jnp.full((input_size, state_size), math.log(0.5))
        self.A_imag = jnp.tile(math.pi * jnp.arange(float(state_size)), (input_size, 1))
        self.C = jax.random.normal(C_key, (2, input_size, state_size)) / math.sqrt(2)
        self.D = jax.random.normal(D_key, (input_size,))
        self.log_delta = uniform_log(delta_key, (input_size,), 1e-3, 1e-1)
        self.input_shape = (input_size,)
        self.state_size = state_size

    def init_state(self):
        zeros = jnp.zeros((self.input_shape[0], self.state_size), state_dtype(self.D))
        return jax.lax.complex(zeros, zeros)

    def project(self, x):
        return x

    def update(self, s, x):
        A = jax.lax.complex(-jnp.exp(self.A_log), self.A_imag)
        turn = jnp.exp(self.log_delta)[:, None].astype(s.dtype) * A  # Δ A
        return jnp.exp(turn) * s + jnp.expm1(turn) / A * x[:, None].astype(s.dtype)

    def readout(self, s, x):
        return 2 * (self.C[0] * s.real - self.C[1] * s.imag).sum(-1) + self.D * x
