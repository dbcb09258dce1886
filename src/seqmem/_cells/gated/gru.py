from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..matrices.structure import AbstractStructure, StructuredMatrix, recurrent_matrices
from .family import AbstractGatedCell


class GRU(AbstractGatedCell):
    """Gated recurrent unit: the update gate interpolates between the old state and a candidate.

        r_t = σ(W_r x_t + U_r h_{t−1} + b_r)                            reset gate
        z_t = σ(W_z x_t + U_z h_{t−1} + b_z)                            update gate
        n_t = tanh(W_n x_t + b_n + r_t ∘ (U_n h_{t−1} + c))             candidate
        h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t−1}
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential.
    Source: Cho et al. 2014, arXiv:1406.1078, equations 5–8. Differs: the reset gate is applied
    after the product, and the candidate has a bias c inside the reset gate (the form of cuDNN and
    PyTorch), so that the three products are one. `seqmem.ResetBeforeGRU` is the paper's form. Each
    U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        recurrent: the structure of each U, such as `seqmem.LowRank(3)`; None is any matrix.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or a structure that U
            cannot have.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
        >>> state.shape, ys.shape
        ((5,), (7, 5))
    """

    gates: ClassVar = ("reset", "update", "candidate")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "3 hidden input"]
    U: Float[Array, "3 hidden hidden"] | StructuredMatrix
    b: Float[Array, "3 hidden"]
    c: Float[Array, " hidden"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        recurrent: AbstractStructure | None = None,
        key: PRNGKeyArray,
    ):
        check_sizes("GRU", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = recurrent_matrices(
            "GRU", recurrent, key, (3, hidden_size, input_size), (3, hidden_size, hidden_size)
        )
        self.b = jnp.zeros((3, hidden_size))
        self.c = jnp.zeros(hidden_size)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, h, u):
        m = h @ self.U.mT
        return m[:2] + u[:2], m[2] + self.c, u[2]

    def gate(self, h, pre):
        (r, z), from_state, from_input = pre
        n = jnp.tanh(from_input + sigmoid(r) * from_state)
        z = sigmoid(z)
        return (1 - z) * n + z * h

    def readout(self, h, u):
        return h
