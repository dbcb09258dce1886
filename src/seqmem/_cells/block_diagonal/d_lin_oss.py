import math

import jax
import jax.numpy as jnp
from jax.nn import relu, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.validation import check_sizes
from ..initialisers import normal, uniform
from .oscillator import AbstractOscillator, Coefficients, draw_maps

# Keeps the derivative of the largest stiffness finite.
MIN_DELTA = 1e-9


class DLinOSS(AbstractOscillator):
    """Damped linear oscillatory state space model (D-LinOSS): harmonic oscillators that are forced
    by the input, each with a damping of its own.

        G = relu(Ĝ),  Δ = σ(Δ̂),  S = 1 / (1 + Δ ∘ G)
        A = min(max(Â, A₋), A₊),    A± = (√(1 + Δ ∘ G) ± 1)² / Δ²
        z_t = S ∘ (z_{t−1} + Δ ∘ (B x_t − A ∘ y_{t−1}))    velocity, complex
        y_t = y_{t−1} + Δ ∘ z_t                            position, complex
        o_t = Re(C y_t) + D ∘ x_t

    The first line of a step is z_t = z_{t−1} + Δ (B x_t − A y_{t−1} − G z_t), solved for z_t.
    Between A₋ and A₊ the eigenvalues of a step are a complex pair of modulus 1/√(1 + Δ G), and at
    either end they are equal.

    Shapes: x and o (input,), z and y (hidden,) complex, Â, Ĝ and Δ̂ (hidden,), B (hidden, input) and
    C (input, hidden) complex; z, y, B and C are stored as real and imaginary parts, which do not
    mix, since A is real. Cost per step: O(input · hidden), of which O(hidden) is sequential.
    Source: Boyer, Rusch & Rus 2025, arXiv:2505.12171, as in the authors' code,
    jaredbmit/damped-linoss (its DampedIMEX1), from which the equations and the start are taken; the
    paper itself was not read beyond its introduction. Differs: Δ is bounded from below by 10⁻⁹ in
    A₊ and not in A₋, where the code bounds Δ² by 10⁻⁶ in both. At the start the eigenvalues are
    uniform on the ring r_min <= |λ| <= r_max with phases in [0, max_phase), Δ̂ is normal with
    standard deviation ½, and B, C and D are as in `seqmem.LinOSSIMEX`.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: oscillators, > 0, each with a complex velocity and a complex position.
        r_min: smallest |λ| at the start, in (0, r_max).
        r_max: largest |λ| at the start, in (r_min, 1]: the closer to 1, the longer the memory.
        max_phase: largest phase of λ at the start, in radians, in (0, π].
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or r_min, r_max or
            max_phase out of range.
    """

    A: Float[Array, " hidden"]
    G: Float[Array, " hidden"]
    delta: Float[Array, " hidden"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        r_min: float = 0.9,
        r_max: float = 1.0,
        max_phase: float = math.pi,
        key: PRNGKeyArray,
    ):
        check_sizes("DLinOSS", input_size=input_size, hidden_size=hidden_size)
        if not (0 < r_min < r_max <= 1 and 0 < max_phase <= math.pi):
            raise bad_input(
                f"DLinOSS got r_min={r_min}, r_max={r_max} and max_phase={max_phase}.",
                "0 < r_min < r_max <= 1 and 0 < max_phase <= π.",
                "choose an r_min above 0, such as 0.9; leave max_phase out for all phases.",
            )
        r_key, phase_key, delta_key, key = jax.random.split(key, 4)
        squares = uniform(r_key, (hidden_size,), r_min**2, r_max**2)
        cosines = jnp.cos(uniform(phase_key, (hidden_size,), 0.0, max_phase))
        self.delta = normal(delta_key, (hidden_size,)) / 2
        delta = sigmoid(self.delta)
        # The determinant of a step is S, and its trace S + 1 − Δ² A S.
        self.G = (1 / squares - 1) / delta
        self.A = (1 + squares - 2 * jnp.sqrt(squares) * cosines) / (delta**2 * squares)
        self.B, self.C, self.D = draw_maps(key, input_size, hidden_size)

    def coefficients(self, delta_t):
        G, delta = relu(self.G), delta_t * sigmoid(self.delta)
        root = jnp.sqrt(1 + delta * G)
        least = (G / (root + 1)) ** 2  # (root − 1)/Δ, without the difference
        most = ((root + 1) / jnp.maximum(delta, MIN_DELTA)) ** 2
        A = jnp.clip(self.A, least, most)
        return Coefficients(A, delta, 1 / (1 + delta * G))
