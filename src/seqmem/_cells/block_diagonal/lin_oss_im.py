import jax
from jax.nn import relu, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_sizes
from ..initialisers import uniform
from .oscillator import AbstractOscillator, Coefficients, draw_maps


class LinOSSIM(AbstractOscillator):
    """Linear oscillatory state space model (LinOSS), implicit: harmonic
    oscillators that are forced by the input and lose energy as they move.

        A = relu(Â),  Δ = σ(Δ̂),  S = 1 / (1 + Δ² ∘ A)
        z_t = S ∘ (z_{t−1} + Δ ∘ (B x_t − A ∘ y_{t−1}))    velocity, complex
        y_t = y_{t−1} + Δ ∘ z_t                            position, complex
        o_t = Re(C y_t) + D ∘ x_t

    The first line of a step is z_t = z_{t−1} + Δ (B x_t − A y_t), solved for z_t. The eigenvalues
    of a step have modulus 1/√(1 + Δ² A), so stiff oscillators forget fast.

    Shapes: x and o (input,), z and y (hidden,) complex, Â, Δ̂, A and Δ (hidden,), B (hidden, input)
    and C (input, hidden) complex; z, y, B and C are stored as real and imaginary parts, which do
    not mix, since A is real. Cost per step: O(input · hidden), of which O(hidden) is sequential.
    Source: Rusch & Rus 2024, arXiv:2410.03943, LinOSS-IM, as in the authors' code,
    tk-rusch/linoss, from which the equations and the start are taken; the paper itself was not read
    beyond its introduction. Differs: none from the code. At the start Â and Δ̂ are uniform in
    [0, 1), B and C in ±1/√input and ±1/√hidden, and D is normal.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: oscillators, > 0, each with a complex velocity and a complex position.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    A: Float[Array, " hidden"]
    delta: Float[Array, " hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("LinOSSIM", input_size=input_size, hidden_size=hidden_size)
        A_key, delta_key, key = jax.random.split(key, 3)
        self.A = uniform(A_key, (hidden_size,), 0.0, 1.0)
        self.delta = uniform(delta_key, (hidden_size,), 0.0, 1.0)
        self.B, self.C, self.D = draw_maps(key, input_size, hidden_size)

    def coefficients(self, delta_t):
        A, delta = relu(self.A), delta_t * sigmoid(self.delta)
        return Coefficients(A, delta, 1 / (1 + delta**2 * A))
