import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal, normal, ring
from .family import AbstractDiagonalCell


class LRU(AbstractDiagonalCell):
    """Linear recurrent unit: a complex diagonal linear recurrence.

        λ = exp(−exp(ν) + i exp(θ))                       |λ| < 1, whatever ν and θ are
        s_t = λ ∘ s_{t−1} + exp(γ) ∘ (B x_t)              complex
        y_t = Re(C s_t) + D ∘ x_t

    Shapes: x and y (input,), s (hidden,) complex, B (hidden, input) and C (input, hidden) complex,
    stored as real and imaginary parts, because JAX's gradient of a complex parameter is the
    conjugate of what optimisers expect. Cost per step: O(input · hidden), of which O(hidden) is
    sequential.
    Source: Orvieto et al. 2023, arXiv:2303.06349, sections 3.2 to 3.4. Differs: none. At the start
    λ is uniform on the ring r_min <= |λ| <= r_max with phases in [0, max_phase), and exp(γ) = √(1 −
    |λ|²), so that the state has the variance of B x for white noise x; the parts of B and C are
    normal with the variances 1/(2 input) and 1/hidden, and D with the variance 1.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: complex entries of the state, > 0.
        r_min: smallest |λ| at the start, in [0, r_max).
        r_max: largest |λ| at the start, in (r_min, 1]: the closer to 1, the longer the memory.
        max_phase: largest phase of λ at the start, in radians, in (0, 2π].
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or r_min, r_max or
            max_phase out of range.
    """

    nu: Float[Array, " hidden"]
    theta: Float[Array, " hidden"]
    gamma: Float[Array, " hidden"]
    B: Float[Array, "2 hidden input"]
    C: Float[Array, "2 input hidden"]
    D: Float[Array, " input"]

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
        check_sizes("LRU", input_size=input_size, hidden_size=hidden_size)
        if not (0 <= r_min < r_max <= 1 and 0 < max_phase <= 2 * math.pi):
            raise bad_input(
                f"LRU got r_min={r_min}, r_max={r_max} and max_phase={max_phase}.",
                "0 <= r_min < r_max <= 1 and 0 < max_phase <= 2π.",
                "choose an r_max of at most 1, such as 0.99; leave max_phase out for all phases.",
            )
        keys = jax.random.split(key, 5)
        self.nu, self.theta, squares = ring(keys[:2], hidden_size, r_min, r_max, max_phase)
        self.gamma = 0.5 * jnp.log1p(-squares)
        self.B = lecun_normal(keys[2], (2, hidden_size, input_size)) / math.sqrt(2)
        self.C = lecun_normal(keys[3], (2, input_size, hidden_size))
        self.D = normal(keys[4], (input_size,))

    @property
    def input_shape(self):
        return self.D.shape[-1:]

    def eigenvalues(self) -> Complex[Array, " hidden"]:
        """The eigenvalues λ of the recurrence."""
        return self._powers(1.0)

    def init_state(self):
        zeros = jnp.zeros(self.nu.shape[-1], state_dtype(self.nu))
        return jax.lax.complex(zeros, zeros)

    def project(self, x):
        gain = jnp.exp(self.gamma)
        return gain * (x @ self.B[0].mT), gain * (x @ self.B[1].mT), self.D * x

    def update(self, s, u):
        return self.update_over(s, u, 1.0)

    def update_over(self, s, u, delta_t):
        return self._powers(delta_t) * s + jax.lax.complex(*u[:2])

    def _powers(self, delta_t: Float[Array, ""] | float) -> Complex[Array, " hidden"]:
        """λ^Δt."""
        return jnp.exp(jax.lax.complex(-delta_t * jnp.exp(self.nu), delta_t * jnp.exp(self.theta)))

    def readout(self, s, u):
        return s.real @ self.C[0].mT - s.imag @ self.C[1].mT + u[2]
