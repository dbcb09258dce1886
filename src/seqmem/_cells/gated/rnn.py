from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_activation, check_sizes
from ..initialisers import lecun_normal
from ..matrices.structure import AbstractStructure, StructuredMatrix, recurrent_matrices
from .family import AbstractGatedCell


class RNN(AbstractGatedCell):
    """Elman's recurrent neural network: one layer of units that see the input and the last state.

        h_t = φ(U h_{t−1} + W x_t + b)
        y_t = V h_t                        (y_t = h_t without an output size)

    Shapes: x (input,), h (hidden,), y (output,) or (hidden,). Cost per step: O(hidden · (input +
    hidden + output)), of which O(hidden²) is sequential.
    Source: Elman 1990, "Finding structure in time", Cognitive Science 14(2), the simple recurrent
    network. Differs: any activation; the output is linear, without a bias; U is orthogonal at the
    start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        output_size: features of one output, > 0; None outputs the state.
        activation: φ, a function of an array, entry by entry.
        recurrent: the structure of U, such as `seqmem.LowRank(3)`; None is any matrix.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, an activation that is not a
            function, or a structure that U cannot have.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.RNN(3, 5, output_size=2, key=jax.random.key(0))
        >>> state, y = cell(cell.init_state(), jax.numpy.ones(3))
        >>> state.shape, y.shape
        ((5,), (2,))
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden hidden"] | StructuredMatrix
    b: Float[Array, " hidden"]
    V: Float[Array, "output hidden"] | None
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        output_size: int | None = None,
        activation: Callable[[Array], Array] = jnp.tanh,
        recurrent: AbstractStructure | None = None,
        key: PRNGKeyArray,
    ):
        check_sizes("RNN", input_size=input_size, hidden_size=hidden_size)
        check_activation("RNN", activation)
        if output_size is not None:
            check_sizes("RNN", output_size=output_size)
        matrix_key, output_key = jax.random.split(key)
        self.W, self.U = recurrent_matrices(
            "RNN", recurrent, matrix_key, (hidden_size, input_size), (hidden_size, hidden_size)
        )
        self.b = jnp.zeros(hidden_size)
        self.V = (
            None if output_size is None else lecun_normal(output_key, (output_size, hidden_size))
        )
        self.activation = activation

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, h, u):
        return h @ self.U.mT + u

    def gate(self, h, z):
        return self.activation(z)

    def readout(self, h, u):
        return h if self.V is None else h @ self.V.mT
