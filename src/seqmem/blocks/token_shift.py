from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._cells.window.family import AbstractWindowCell
from .._core.precision import state_dtype


class Mixed(NamedTuple):
    """An input mixed with the input before it, once for each of its uses."""

    r: Float[Array, " input"]  # receptance: RWKV's query
    w: Float[Array, " input"]  # decay
    k: Float[Array, " input"]  # key
    v: Float[Array, " input"]  # value
    a: Float[Array, " input"]  # in-context learning rate
    g: Float[Array, " input"]  # output gate


class TokenShift(AbstractWindowCell):
    """The first layer of `rwkv7_block`: x_t + μ ∘ (x_{t−1} − x_t), with one μ for each use.

    Before the first input, and before a reset, x is 0.
    """

    mu: Float[Array, "uses input"]

    @property
    def input_shape(self):
        return (self.mu.shape[1],)

    def init_state(self):
        return jnp.zeros((2, self.input_shape[0]), state_dtype(self.mu))

    def project(self, x):
        return x, None

    def readout(self, window, u):
        before, x = window
        return Mixed(*(x + mu * (before - x) for mu in self.mu))

    def readout_sequence(self, history, u):
        before, x = history.shifted(1), history.shifted(0)
        return Mixed(*(x + mu * (before - x) for mu in self.mu))


class TokenShiftWithValues(AbstractWindowCell):
    """The first layer of `rwkv7_block(first_layer=False)`: a `TokenShift` of x_t, and v¹_t as it
    is.
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    shift: TokenShift

    def init_state(self):
        return self.shift.init_state()

    def project(self, x):
        return x

    def readout(self, window, u):
        return self.shift.readout(window, u), u[1]

    def readout_sequence(self, history, u):
        return self.shift.readout_sequence(history, u), u[1]


class DynamicallyMixed(NamedTuple):
    """An input mixed with the input before it, once for each of its uses in RWKV-6."""

    r: Float[Array, " input"]  # receptance
    w: Float[Array, " input"]  # decay
    k: Float[Array, " input"]  # key
    v: Float[Array, " input"]  # value
    g: Float[Array, " input"]  # output gate


class DynamicTokenShift(AbstractWindowCell):
    """The first layer of `rwkv6_block`: a token shift whose μ are computed from the input.

        δ_t = x_{t−1} − x_t,    z^c_t = tanh(V^c (x_t + μ ∘ δ_t))
        x^c_t = x_t + (μ^c + W^c z^c_t) ∘ δ_t                          c = r, w, k, v, g

    Before the first input, and before a reset, x is 0.
    """

    mu: Float[Array, " input"]
    V: Float[Array, "uses rank input"]
    W: Float[Array, "uses input rank"]
    mu_of_use: Float[Array, "uses input"]

    @property
    def input_shape(self):
        return self.mu.shape

    def init_state(self):
        return jnp.zeros((2, len(self.mu)), state_dtype(self.mu))

    def project(self, x):
        return x, None

    def _mix(self, before: Array, x: Array) -> DynamicallyMixed:
        delta = before - x
        z = jnp.tanh(jnp.einsum("...i,uri->...ur", x + self.mu * delta, self.V))
        mu = self.mu_of_use + jnp.einsum("...ur,uir->...ui", z, self.W)
        mixed = x[..., None, :] + mu * delta[..., None, :]
        return DynamicallyMixed(*jnp.moveaxis(mixed, -2, 0))

    def readout(self, window, u):
        return self._mix(*window)

    def readout_sequence(self, history, u):
        return self._mix(history.shifted(1), history.shifted(0))
