import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_activation, check_sizes
from ..initialisers import lecun_normal, ring
from .family import AbstractDiagonalCell


class RTU(AbstractDiagonalCell):
    """Recurrent trace unit, linear: pairs of units whose state is rotated and shrunk, and a
    nonlinear output.

        r = exp(−exp(ν)),  θ = exp(θ̂),  λ = r exp(i θ)
        s_t = λ ∘ s_{t−1} + √(1 − r²) ∘ (W x_t)           complex
        y_t = φ([Re s_t, Im s_t])

    Made for online learning: `seqmem.gradients.RTRL` with the axes of the units, 1 for W and 0 for
    the others, has the exact gradient at O(parameters) per step.

    Shapes: x (input,), s, ν and θ̂ (hidden,), W (hidden, input) complex, stored as real and
    imaginary parts, y (2 hidden,). Cost per step: O(input · hidden), of which O(hidden) is
    sequential.
    Source: Elelimy et al. 2024, arXiv:2409.01449, linear RTUs as in the authors' code,
    esraaelelimy/rtus, from which the equations are taken; the paper itself was not read beyond its
    introduction. `seqmem.NonlinearRTU` is the other form. Differs: √(1 − r²) without the 10⁻⁸ that
    is added there. At the start r² is uniform in [0, 1) and θ in [0, 2π), as for `seqmem.LRU`.

    Args:
        input_size: features of one input, > 0.
        hidden_size: complex entries of the state, > 0, half of the features of one output.
        activation: φ, a function of an array, entry by entry.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or an activation that is
            not a function.
    """

    nu: Float[Array, " hidden"]
    theta: Float[Array, " hidden"]
    W: Float[Array, "2 hidden input"]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKeyArray,
    ):
        check_sizes("RTU", input_size=input_size, hidden_size=hidden_size)
        check_activation("RTU", activation)
        keys = jax.random.split(key, 3)
        self.nu, self.theta, _ = ring(keys[:2], hidden_size, 0.0, 1.0, 2 * math.pi)
        self.W = lecun_normal(keys[2], (2, hidden_size, input_size))
        self.activation = activation

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        zeros = jnp.zeros(self.nu.shape[-1], state_dtype(self.nu))
        return jax.lax.complex(zeros, zeros)

    def project(self, x):
        Wx = jnp.sqrt(-jnp.expm1(-2 * jnp.exp(self.nu))) * (x @ self.W.mT)
        return Wx[0], Wx[1]

    def update(self, s, u):
        eigenvalues = jnp.exp(jax.lax.complex(-jnp.exp(self.nu), jnp.exp(self.theta)))
        return eigenvalues * s + jax.lax.complex(*u)

    def readout(self, s, u):
        return self.activation(jnp.concatenate([s.real, s.imag]))
