from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import lecun_normal, orthogonal
from .family import AbstractGatedCell


class RNN(AbstractGatedCell):
    """The recurrent neuron: a memory that is mixed with itself and with the input at every step.

        h_t = φ(U h_{t−1} + W x_t + b)
        y_t = V h_t                        (y_t = h_t without an output size)

    Shapes: x (input,), h (hidden,), y (output,) or (hidden,). Cost per step: O(hidden · (input +
    hidden + output)), of which O(hidden²) is sequential.
    Source: Elman 1990, "Finding structure in time", Cognitive Science 14(2), the simple recurrent
    network. Differs: any activation; the output is linear, without a bias; U is orthogonal at the
    start.

    Args:
        input_size: entries of one input, > 0.
        hidden_size: entries of the state, > 0.
        output_size: entries of one output, or None to output the state.
        activation: φ, a function of an array, entry by entry.
        key: for the initial parameters.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.RNN(3, 5, output_size=2, key=jax.random.key(0))
        >>> state, y = cell(cell.init_state(), jax.numpy.ones(3))
        >>> state.shape, y.shape
        ((5,), (2,))
    """

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden hidden"]
    b: Float[Array, " hidden"]
    V: Float[Array, "output hidden"] | None
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        *,
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKeyArray,
    ):
        keys = jax.random.split(key, 3)
        self.W = lecun_normal(keys[0], (hidden_size, input_size))
        self.U = orthogonal(keys[1], (hidden_size, hidden_size))
        self.b = jnp.zeros(hidden_size)
        self.V = None if output_size is None else lecun_normal(keys[2], (output_size, hidden_size))
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size
        self.activation = activation

    def init_state(self):
        return jnp.zeros(self.hidden_size, state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, h, u):
        return h @ self.U.mT + u

    def gate(self, h, z):
        return self.activation(z)

    def readout(self, h, u):
        return h if self.V is None else h @ self.V.mT
