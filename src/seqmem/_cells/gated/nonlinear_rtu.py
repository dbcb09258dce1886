import math
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_activation, check_sizes
from ..._methods.newton.jacobians import BlockJacobian
from ..initialisers import lecun_normal, ring
from .family import AbstractGatedCell


class NonlinearRTU(AbstractGatedCell):
    """Recurrent trace unit, nonlinear: pairs of units whose state is rotated and shrunk before the
    nonlinearity of each step.

        r = exp(−exp(ν)),  g = r cos(exp(θ̂)),  φ = r sin(exp(θ̂)),  γ = √(1 − r²)
        a_t = f(g ∘ a_{t−1} − φ ∘ b_{t−1} + γ ∘ (W_a x_t))
        b_t = f(φ ∘ a_{t−1} + g ∘ b_{t−1} + γ ∘ (W_b x_t))
        y_t = [a_t, b_t]

    Shapes: x (input,), a, b, ν and θ̂ (hidden,), W (2, hidden, input), y (2 hidden,). Cost per step:
    O(input · hidden), of which O(hidden) is sequential.
    Source: Elelimy et al. 2024, arXiv:2409.01449, nonlinear RTUs as in the authors' code,
    esraaelelimy/rtus, from which the equations are taken; the paper itself was not read beyond its
    introduction. `seqmem.RTU` is the linear form, which `seqmem.Parallel` can run. Differs:
    √(1 − r²) without the 10⁻⁸ that is added there. At the start r² is uniform in [0, 1) and the
    angle in [0, 2π).

    Args:
        input_size: features of one input, > 0.
        hidden_size: pairs of units, > 0, half of the features of one output.
        activation: f, a function of an array, entry by entry.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or an activation that is
            not a function.
    """

    jacobian: ClassVar = BlockJacobian(unit_axes=1)

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
        check_sizes("NonlinearRTU", input_size=input_size, hidden_size=hidden_size)
        check_activation("NonlinearRTU", activation)
        keys = jax.random.split(key, 3)
        self.nu, self.theta, _ = ring(keys[:2], hidden_size, 0.0, 1.0, 2 * math.pi)
        self.W = lecun_normal(keys[2], (2, hidden_size, input_size))
        self.activation = activation

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.W.shape[:-1], state_dtype(self.nu))

    def project(self, x):
        return jnp.sqrt(-jnp.expm1(-2 * jnp.exp(self.nu))) * (x @ self.W.mT)

    def mix(self, h, drive):
        r, angle = jnp.exp(-jnp.exp(self.nu)), jnp.exp(self.theta)
        g, phi = r * jnp.cos(angle), r * jnp.sin(angle)
        return jnp.stack([g * h[0] - phi * h[1], phi * h[0] + g * h[1]]) + drive

    def gate(self, h, z):
        return self.activation(z)

    def readout(self, h, drive):
        return h.reshape(-1)
