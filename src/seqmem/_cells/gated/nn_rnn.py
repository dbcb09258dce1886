from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal, uniform
from ..matrices.schur import Schur
from ..matrices.structure import StructuredMatrix
from ..mod_relu import mod_relu
from .family import AbstractGatedCell


class NNRNN(AbstractGatedCell):
    """Non-normal recurrent network: a recurrent matrix with given moduli of its eigenvalues, which
    is orthogonal at the start, and may become one that amplifies for a while.

        U = P Θ Pᵀ,  P = exp(A − Aᵀ)
        Θ = blocks γ_i [cos θ_i, −sin θ_i; sin θ_i, cos θ_i] along its diagonal, and T above them
        z_t = U h_{t−1} + W x_t
        h_t = sign(z_t) ∘ relu(|z_t| + b)
        y_t = h_t

    Shapes: x (input,), h and y (hidden,), γ and θ (hidden/2,). Cost per step: O(hidden · (input +
    hidden)), of which O(hidden²) is sequential, and O(hidden³) once per run for U.
    Source: Kerg et al. 2019, arXiv:1905.12080. The paper was not read beyond its introduction; the
    equations are those of nnRNN/nnRNN_release. Differs: T has no entries within the blocks, so that
    the moduli of the eigenvalues are γ; the penalty that keeps γ near 1 is the user's, and so is
    the slower learning rate of A; W is normal at the start, of variance 1/columns; b is uniform in
    [−0.01, 0.01).

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0, even.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or an odd hidden_size.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.NNRNN(3, 6, key=jax.random.key(0))
        >>> gamma = cell.U.parameters["gamma"]
        >>> penalty = ((gamma - 1) ** 2).mean()
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden hidden"] | StructuredMatrix
    b: Float[Array, " hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("NNRNN", input_size=input_size, hidden_size=hidden_size)
        input_key, recurrent_key, bias_key = jax.random.split(key, 3)
        self.W = lecun_normal(input_key, (hidden_size, input_size))
        self.U = Schur()(recurrent_key, (hidden_size, hidden_size))
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
