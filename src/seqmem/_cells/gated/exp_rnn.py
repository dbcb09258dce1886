from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal, uniform
from ..matrices.orthogonal import Orthogonal
from ..matrices.structure import StructuredMatrix
from ..mod_relu import mod_relu
from .family import AbstractGatedCell


class ExpRNN(AbstractGatedCell):
    """Recurrent network with an orthogonal matrix, by the exponential map, and the nonlinearity
    modReLU: steps that keep the norm of the state and of its gradient where no unit is below its
    threshold.

        U = exp(A − Aᵀ)        A above its diagonal
        z_t = U h_{t−1} + W x_t
        h_t = sign(z_t) ∘ relu(|z_t| + b)
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential, and O(hidden³) once per run for the exponential.
    Source: Lezcano-Casado & Martínez-Rubio 2019, arXiv:1901.08428. The paper was not read beyond
    its introduction; the equations are those of nnRNN/nnRNN_release, which uses the authors'
    program. Differs: W is normal at the start, of variance 1/columns; b is uniform in
    [−0.01, 0.01).

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.ExpRNN(3, 5, key=jax.random.key(0))
        >>> U = cell.U.value()
        >>> bool(abs(U @ U.T - jax.numpy.eye(5)).max() < 1e-5)
        True
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden hidden"] | StructuredMatrix
    b: Float[Array, " hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("ExpRNN", input_size=input_size, hidden_size=hidden_size)
        input_key, recurrent_key, bias_key = jax.random.split(key, 3)
        self.W = lecun_normal(input_key, (hidden_size, input_size))
        self.U = Orthogonal()(recurrent_key, (hidden_size, hidden_size))
        self.b = uniform(bias_key, (hidden_size,), -0.01, 0.01)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT

    def mix(self, h, u):
        return h @ self.U.mT + u

    def gate(self, h, z):
        return mod_relu(z, self.b)

    def readout(self, h, u):
        return h
