from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_activation, check_sizes
from ..._methods.newton.jacobians import DiagonalJacobian
from ..initialisers import lecun_normal, uniform
from .family import AbstractGatedCell


class IndRNN(AbstractGatedCell):
    """Independently recurrent neural network: each unit has one recurrent weight, on itself.

        h_t = φ(W x_t + u ∘ h_{t−1} + b)
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(input · hidden), of which O(hidden) is
    sequential.
    Source: Li et al. 2018, arXiv:1803.04831, section 3. Differs: u is uniform in [0, 1) at the
    start; the authors' code draws from [0, 2^(1/T)] for sequences of T steps.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        activation: φ, a function of an array, entry by entry.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or an activation that is
            not a function.
    """

    jacobian: ClassVar = DiagonalJacobian()
    recurrent_weights: ClassVar = ("u",)

    W: Float[Array, "hidden input"]
    u: Float[Array, " hidden"]
    b: Float[Array, " hidden"]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKeyArray,
    ):
        check_sizes("IndRNN", input_size=input_size, hidden_size=hidden_size)
        check_activation("IndRNN", activation)
        input_key, recurrent_key = jax.random.split(key)
        self.W = lecun_normal(input_key, (hidden_size, input_size))
        self.u = uniform(recurrent_key, (hidden_size,), 0.0, 1.0)
        self.b = jnp.zeros(hidden_size)
        self.activation = activation

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, h, drive):
        return self.u * h + drive

    def gate(self, h, z):
        return self.activation(z)

    def readout(self, h, drive):
        return h
