import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from .family import AbstractDiagonalCell


class LRU(AbstractDiagonalCell):
    """Linear recurrent unit: a complex memory that turns and fades, entry by entry.

        λ = exp(−exp(ν) + i exp(θ))                       |λ| < 1, whatever ν and θ are
        s_t = λ ∘ s_{t−1} + exp(γ) ∘ (B x_t)              complex
        y_t = Re(C s_t) + D ∘ x_t

    Shapes: x and y (input,), s (hidden,) complex, B (hidden, input) and C (input, hidden) complex,
    held in real and imaginary parts: an optimiser then needs no care (JAX's gradient of a complex
    parameter is the conjugate of the direction of ascent).
    Cost per step: O(input · hidden), of which O(hidden) is sequential.
    Source: Orvieto et al. 2023, arXiv:2303.06349, sections 3.2 to 3.4. Differs: none. At the start
    λ is uniform on the ring, its max_phase below `max_phase`, and exp(γ) = √(1 − |λ|²), so that white
    inputs give states of their own variance.

    Args:
        input_size: entries of one input and of one output, > 0.
        hidden_size: entries of the state, > 0.
        r_min: least |λ| at the start, in [0, r_max).
        r_max: greatest |λ| at the start, in (r_min, 1): how long it remembers.
        max_phase: greatest max_phase of λ at the start, in (0, 2π].
        key: for the initial parameters.
    """

    nu: Float[Array, " hidden"]
    theta: Float[Array, " hidden"]
    gamma: Float[Array, " hidden"]
    B: Float[Array, "2 hidden input"]
    C: Float[Array, "2 input hidden"]
    D: Float[Array, " input"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        r_min: float = 0.0,
        r_max: float = 0.99,
        max_phase: float = 2 * math.pi,
        key: PRNGKeyArray,
    ):
        keys = jax.random.split(key, 5)
        squares = jax.random.uniform(keys[0], (hidden_size,), minval=r_min**2, maxval=r_max**2)
        tiny = jnp.finfo(squares.dtype).tiny
        squares = jnp.maximum(squares, tiny)
        self.nu = jnp.log(-0.5 * jnp.log(squares))
        self.theta = jnp.log(max_phase * jax.random.uniform(keys[1], (hidden_size,), minval=tiny))
        self.gamma = 0.5 * jnp.log1p(-squares)

        self.B = jax.random.normal(keys[2], (2, hidden_size, input_size))
        self.B /= math.sqrt(2 * input_size)
        self.C = jax.random.normal(keys[3], (2, input_size, hidden_size))
        self.C /= math.sqrt(hidden_size)
        self.D = jax.random.normal(keys[4], (input_size,))
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size

    def eigenvalues(self) -> Complex[Array, " hidden"]:
        """λ."""
        return jnp.exp(jax.lax.complex(-jnp.exp(self.nu), jnp.exp(self.theta)))

    def init_state(self):
        wide = state_dtype(self.nu) == jnp.float64
        return jnp.zeros(self.hidden_size, jnp.complex128 if wide else jnp.complex64)

    def project(self, x):
        gain = jnp.exp(self.gamma)
        return gain * (x @ self.B[0].mT), gain * (x @ self.B[1].mT), self.D * x

    def update(self, s, u):
        return self.eigenvalues() * s + jax.lax.complex(*u[:2])

    def readout(self, s, u):
        return s.real @ self.C[0].mT - s.imag @ self.C[1].mT + u[2]
