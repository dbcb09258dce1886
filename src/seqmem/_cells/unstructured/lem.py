import math
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.validation import check_positive, check_sizes
from ..initialisers import uniform


class LEMState(NamedTuple):
    """The state of a LEM: the hidden state y, which is the output, and the memory z."""

    y: Float[Array, " hidden"]
    z: Float[Array, " hidden"]


class LEM(AbstractCell):
    """Long expressive memory: two states that move in time steps of their own, which depend on the
    input and on the state.

        δ_t, δ̄_t = Δt σ(W x_t + U y_{t−1} + b)                             steps of z and of y
        z_t = (1 − δ_t) ∘ z_{t−1} + δ_t ∘ tanh(W_z x_t + U_z y_{t−1} + b_z)
        y_t = (1 − δ̄_t) ∘ y_{t−1} + δ̄_t ∘ tanh(W_y x_t + V z_t + b_y)

    y_t is also the output.

    Shapes: x (input,), y and z (hidden,), W (4, hidden, input) and b (4, hidden) of δ, δ̄, z and y,
    U (3, hidden, hidden) of δ, δ̄ and z, V (hidden, hidden). Δt is a number above 0, which is not
    trained; with Δt <= 1 both states stay within ±1. Cost per step: O(hidden · (input + hidden)),
    of which O(hidden²) is sequential, in two products, one after the other.
    Source: Rusch, Mishra, Erichson & Mahoney 2022, arXiv:2110.04744; the equations of the paper
    were not read, but those of the authors' program, tk-rusch/LEM. Differs: one bias where that
    program adds two; at the start it is drawn like the weights, uniform in ±1/√hidden, as one of
    them is there. torchrecurrent 0.2.5 computes y_t from V z_{t−1} in place of V z_t, so its LEM is
    another cell.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of y and of z, > 0.
        dt: Δt, the longest step, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or a dt that is not above
            0.
    """

    recurrent_weights: ClassVar = ("U", "V")

    W: Float[Array, "4 hidden input"]
    U: Float[Array, "3 hidden hidden"]
    V: Float[Array, "hidden hidden"]
    b: Float[Array, "4 hidden"]
    dt: float = eqx.field(static=True)

    def __init__(self, input_size: int, hidden_size: int, *, dt: float = 1.0, key: PRNGKeyArray):
        check_sizes("LEM", input_size=input_size, hidden_size=hidden_size)
        check_positive("LEM", "dt", dt, remedy="leave it out for steps of up to 1.")
        bound = 1 / math.sqrt(hidden_size)
        columns = 4 * input_size + 4 * hidden_size + 4
        draws = uniform(key, (hidden_size * columns,), -bound, bound)
        ends = [4 * input_size, 4 * input_size + 3 * hidden_size, columns - 4]
        W, U, V, b = jnp.split(draws, [hidden_size * end for end in ends])
        self.W = W.reshape(4, hidden_size, input_size)
        self.U = U.reshape(3, hidden_size, hidden_size)
        self.V = V.reshape(hidden_size, hidden_size)
        self.b = b.reshape(4, hidden_size)
        self.dt = float(dt)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return LEMState(jnp.zeros(size, dtype), jnp.zeros(size, dtype))

    def project(self, x):
        return x @ self.W.mT + self.b

    def update(self, state, u):
        *steps, candidate = state.y @ self.U.mT + u[:3]
        z_step, y_step = (self.dt * sigmoid(step) for step in steps)
        z = (1 - z_step) * state.z + z_step * jnp.tanh(candidate)
        y = (1 - y_step) * state.y + y_step * jnp.tanh(z @ self.V.mT + u[3])
        return LEMState(y, z)

    def readout(self, state, u):
        return state.y
