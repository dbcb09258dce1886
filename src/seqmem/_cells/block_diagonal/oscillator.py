"""What oscillators share: their state, one step of them, and the maps of inputs and outputs."""

import abc
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import normal, uniform_fan_in
from .family import AbstractBlockDiagonalCell


class OscillatorState(NamedTuple):
    """The velocities z and the positions y of oscillators, real and imaginary parts."""

    z: Float[Array, "2 hidden"]
    y: Float[Array, "2 hidden"]


class Coefficients(NamedTuple):
    """Stiffness A ≥ 0, step Δ, and S, by which a step of the velocity is damped."""

    A: Float[Array, " hidden"]
    delta: Float[Array, " hidden"]
    S: Float[Array, " hidden"]


class AbstractOscillator(AbstractBlockDiagonalCell):
    """Oscillators that are forced by the input; subclasses say how a step is discretised.

    z_t = S ∘ (z_{t−1} + Δ ∘ (B x_t − A ∘ y_{t−1}))
    y_t = y_{t−1} + Δ ∘ z_t
    """

    B: Float[Array, "2 hidden input"]
    C: Float[Array, "2 input hidden"]
    D: Float[Array, " input"]

    @abc.abstractmethod
    def coefficients(self, delta_t: Float[Array, ""] | float) -> Coefficients:
        """What a step multiplies by, from the parameters: Δ is `delta_t` times the learned one."""

    @property
    def input_shape(self):
        return self.D.shape[-1:]

    def init_state(self):
        shape, dtype = self.B.shape[:-1], state_dtype(self.D)
        return OscillatorState(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

    def project(self, x):
        return x @ self.B.mT, self.D * x

    def update(self, s, u):
        return self.update_over(s, u, 1.0)

    def update_over(self, s, u, delta_t):
        A, delta, S = self.coefficients(delta_t)
        z = S * (s.z + delta * (u[0] - A * s.y))
        return OscillatorState(z, s.y + delta * z)

    def readout(self, s, u):
        return s.y[0] @ self.C[0].mT - s.y[1] @ self.C[1].mT + u[1]


def draw_maps(
    key: PRNGKeyArray, input_size: int, hidden_size: int
) -> tuple[Float[Array, "2 hidden input"], Float[Array, "2 input hidden"], Float[Array, " input"]]:
    """B, C and D at the start: uniform in ±1/√input and ±1/√hidden, and standard normal."""
    B_key, C_key, D_key = jax.random.split(key, 3)
    return (
        uniform_fan_in(B_key, (2, hidden_size, input_size)),
        uniform_fan_in(C_key, (2, input_size, hidden_size)),
        normal(D_key, (input_size,)),
    )
