from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import lecun_normal
from .family import AbstractGatedCell


class IndRNN(AbstractGatedCell):
    """Independently recurrent units: each remembers itself alone, by one weight.

        h_t = φ(W x_t + u ∘ h_{t−1} + b)
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(input · hidden), of which O(hidden) is
    sequential.
    Source: Li et al. 2018, arXiv:1803.04831, section 3. Differs: u is drawn from [0, 1] at the
    start; the authors' code draws from [0, 2^(1/T)] for sequences of T steps.

    Args:
        input_size: entries of one input, > 0.
        hidden_size: entries of the state, > 0.
        activation: φ, a function of an array, entry by entry.
        key: for the initial parameters.
    """

    W: Float[Array, "hidden input"]
    u: Float[Array, " hidden"]
    b: Float[Array, " hidden"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKeyArray,
    ):
        input_key, recurrent_key = jax.random.split(key)
        self.W = lecun_normal(input_key, (hidden_size, input_size))
        self.u = jax.random.uniform(recurrent_key, (hidden_size,))
        self.b = jnp.zeros(hidden_size)
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size
        self.activation = activation

    def init_state(self):
        return jnp.zeros(self.hidden_size, state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, h, drive):
        return self.u * h + drive

    def gate(self, h, z):
        return self.activation(z)

    def readout(self, h, drive):
        return h
