import math
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_positive, check_sizes
from ..initialisers import uniform
from .family import AbstractGatedCell


class CoRNNState(NamedTuple):
    """The positions y of the oscillators, which are the output, and their velocities z."""

    y: Float[Array, " hidden"]
    z: Float[Array, " hidden"]


class CoRNN(AbstractGatedCell):
    """Coupled oscillatory RNN: each unit is a damped oscillator that is driven by all units and by
    the input.

        z_t = z_{t−1} + Δt (tanh(U_y y_{t−1} + U_z z_{t−1} + W x_t + b) − γ y_{t−1} − ε z_{t−1})
        y_t = y_{t−1} + Δt z_t

    y_t is also the output. Without weights, each unit takes a step of determinant 1 − Δt ε.

    Shapes: x (input,), y, z and b (hidden,), U (2, hidden, hidden) of U_y and U_z. Δt, γ and ε are
    numbers above 0, which are not trained. Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential.
    Source: Rusch & Mishra 2021, arXiv:2010.00951; the equations of the paper were not read, but
    those of the authors' program, tk-rusch/coRNN, which takes the damping ε z explicitly, at t − 1.
    Differs: none. W, U and b start uniform in ±1/√(input + 2 hidden), as there.

    Args:
        input_size: features of one input, > 0.
        hidden_size: oscillators, > 0.
        dt: Δt, the time between two steps, > 0. This and the next two are by default those of the
            authors' program for sequential MNIST.
        gamma: γ, the squared frequency, > 0.
        epsilon: ε, the damping, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or a dt, gamma or epsilon
            that is not above 0.
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "hidden input"]
    U: Float[Array, "2 hidden hidden"]
    b: Float[Array, " hidden"]
    dt: float = eqx.field(static=True)
    gamma: float = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dt: float = 0.042,
        gamma: float = 2.7,
        epsilon: float = 4.7,
        key: PRNGKeyArray,
    ):
        check_sizes("CoRNN", input_size=input_size, hidden_size=hidden_size)
        for name, value in {"dt": dt, "gamma": gamma, "epsilon": epsilon}.items():
            check_positive("CoRNN", name, value, remedy="start with the default, and tune it.")
        entries = hidden_size * (input_size + 2 * hidden_size + 1)
        bound = 1 / math.sqrt(input_size + 2 * hidden_size)
        W, U, b = jnp.split(
            uniform(key, (entries,), -bound, bound),
            (hidden_size * input_size, entries - hidden_size),
        )
        self.W = W.reshape(hidden_size, input_size)
        self.U = U.reshape(2, hidden_size, hidden_size)
        self.b = b
        self.dt, self.gamma, self.epsilon = float(dt), float(gamma), float(epsilon)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return CoRNNState(jnp.zeros(size, dtype), jnp.zeros(size, dtype))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, state, u):
        return state.y @ self.U[0].mT + state.z @ self.U[1].mT + u

    def gate(self, state, a):
        force = jnp.tanh(a) - self.gamma * state.y - self.epsilon * state.z
        z = state.z + self.dt * force
        return CoRNNState(state.y + self.dt * z, z)

    def readout(self, state, u):
        return state.y
