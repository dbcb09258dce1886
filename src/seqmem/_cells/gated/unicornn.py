import math
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..._core.validation import check_positive, check_sizes
from ..._methods.newton.jacobians import BlockJacobian
from ..initialisers import uniform
from .family import AbstractGatedCell


class UnICORNNState(NamedTuple):
    """The positions y of the oscillators, which are the output, and their velocities z."""

    y: Float[Array, " hidden"]
    z: Float[Array, " hidden"]


class UnICORNN(AbstractGatedCell):
    """Undamped independent controlled oscillatory RNN: each unit is an oscillator of its own, which
    the input drives and which learns its speed.

        δ = Δt σ(c)
        z_t = z_{t−1} − δ ∘ (tanh(w ∘ y_{t−1} + W x_t + b) + α y_{t−1})
        y_t = y_{t−1} + δ ∘ z_t

    y_t is also the output. Each unit takes a step of determinant 1: nothing is damped, whatever the
    weights and the input are. One layer of the paper; `seqmem.layers.Stack` makes several.

    Shapes: x (input,), y, z, w, b and c (hidden,). Δt > 0 and α ≥ 0 are numbers, which are not
    trained. Cost per step: O(input · hidden), of which O(hidden) is sequential.
    Source: Rusch & Mishra 2021, arXiv:2103.05487; the equations of the paper were not read, but
    those of the authors' program, tk-rusch/unicornn. Differs: none. At the start, as there, W is
    uniform in ±√(6/(65 input)), w in [0, 1) and c in [−0.1, 0.1), and b is 0.

    Args:
        input_size: features of one input, > 0.
        hidden_size: oscillators, > 0.
        dt: Δt, the longest time between two steps, > 0. This and α are by default those of the
            authors' program for permuted sequential MNIST.
        alpha: α, the stiffness without weights, >= 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, a dt that is not above 0,
            or an alpha below 0.
    """

    jacobian: ClassVar = BlockJacobian()
    recurrent_weights: ClassVar = ("w",)

    W: Float[Array, "hidden input"]
    w: Float[Array, " hidden"]
    b: Float[Array, " hidden"]
    c: Float[Array, " hidden"]
    dt: float = eqx.field(static=True)
    alpha: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dt: float = 0.19,
        alpha: float = 30.65,
        key: PRNGKeyArray,
    ):
        check_sizes("UnICORNN", input_size=input_size, hidden_size=hidden_size)
        check_positive("UnICORNN", "dt", dt, remedy="start with the default, and tune it.")
        if not alpha >= 0:
            raise bad_input(
                f"UnICORNN got alpha={alpha!r}.",
                "a number of at least 0.",
                "start with the default, and tune it.",
            )
        draws = uniform(key, (hidden_size * (input_size + 2),), 0.0, 1.0)
        W, w, c = jnp.split(draws, (hidden_size * input_size, hidden_size * (input_size + 1)))
        # Kaiming's uniform entries for a leaky ReLU of slope 8, as the authors draw them.
        bound = math.sqrt(6 / (1 + 8**2) / input_size)
        self.W = bound * (2 * W - 1).reshape(hidden_size, input_size)
        self.w = w
        self.b = jnp.zeros(hidden_size)
        self.c = 0.1 * (2 * c - 1)
        self.dt, self.alpha = float(dt), float(alpha)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return UnICORNNState(jnp.zeros(size, dtype), jnp.zeros(size, dtype))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, state, u):
        return self.w * state.y + u

    def gate(self, state, a):
        step = self.dt * sigmoid(self.c)
        z = state.z - step * (jnp.tanh(a) + self.alpha * state.y)
        return UnICORNNState(state.y + step * z, z)

    def readout(self, state, u):
        return state.y
