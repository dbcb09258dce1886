from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices


class MUT2(AbstractCell):
    """Second of the three gated units that a search over ten thousand architectures found.

        z_t = σ(W_z x_t + U_z h_{t−1} + b_z)
        r_t = σ(x_t + U_r h_{t−1} + b_r)
        h_t = z_t ∘ tanh(U_h (r_t ∘ h_{t−1}) + W_h x_t + b_h) + (1 − z_t) ∘ h_{t−1}
        y_t = h_t

    Shapes: x, h and y (size,); W (2, size, size): z, h; U and b (3, ...): z, r, h. Cost per step:
    O(size²), of which O(size²) is sequential, in two products, one after the other.
    Source: Jozefowicz, Zaremba & Sutskever 2015, "An empirical exploration of recurrent network
    architectures", PMLR 37. The paper's text was not read; the equations are those of the
    documentation of RecurrentLayers.jl. x enters the gate r without a matrix, so that input
    and state have one size; torchrecurrent 0.2.5 gives it one, and with it the unit is a
    `seqmem.ResetBeforeGRU`. Differs: each U is orthogonal at the start.

    Args:
        size: features of one input, of the state and of the output, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "2 size size"]
    U: Float[Array, "3 size size"]
    b: Float[Array, "3 size"]

    def __init__(self, size: int, *, key: PRNGKeyArray):
        check_sizes("MUT2", size=size)
        self.W, self.U = gate_matrices(key, (2, size, size), (3, size, size))
        self.b = jnp.zeros((3, size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        z, n = x @ self.W.mT
        return jnp.stack([z, x, n]) + self.b

    def update(self, h, u):
        z, r = sigmoid(h @ self.U[:2].mT + u[:2])
        n = jnp.tanh((r * h) @ self.U[2].mT + u[2])
        return z * n + (1 - z) * h

    def readout(self, h, u):
        return h
