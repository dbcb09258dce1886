from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_positive, check_sizes
from ..initialisers import lecun_normal
from ..matrices.antisymmetric import Antisymmetric
from ..matrices.structure import StructuredMatrix
from .family import AbstractGatedCell


class AntisymmetricRNN(AbstractGatedCell):
    """Antisymmetric recurrent network: Euler steps of a differential equation whose Jacobian has
    eigenvalues near the imaginary axis, so that gradients neither explode nor vanish.

        U = A − Aᵀ − γ I
        h_t = h_{t−1} + ε tanh(U h_{t−1} + W x_t + b)
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential.
    Source: Chang et al. 2019, arXiv:1902.09689. The paper was not read beyond its introduction; the
    equations are those of torchrecurrent 0.2.5. Differs: A and W are normal at the start, of
    variance 1/columns.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        step_size: ε, > 0.
        damping: γ, >= 0; Euler steps without it let the state grow.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, a step_size that is not
            above 0, or a damping below 0.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.AntisymmetricRNN(3, 5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
        >>> state.shape, ys.shape
        ((5,), (7, 5))
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden hidden"] | StructuredMatrix
    b: Float[Array, " hidden"]
    step_size: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        step_size: float = 0.1,
        damping: float = 0.01,
        key: PRNGKeyArray,
    ):
        check_sizes("AntisymmetricRNN", input_size=input_size, hidden_size=hidden_size)
        check_positive("AntisymmetricRNN", "step_size", step_size, remedy="leave it out for 0.1.")
        input_key, recurrent_key = jax.random.split(key)
        self.W = lecun_normal(input_key, (hidden_size, input_size))
        self.U = Antisymmetric(damping)(recurrent_key, (hidden_size, hidden_size))
        self.b = jnp.zeros(hidden_size)
        self.step_size = step_size

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
        return h + self.step_size * jnp.tanh(z)

    def readout(self, h, u):
        return h
