from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices


class MUT1(AbstractCell):
    """First of the three gated units that a search over ten thousand architectures found.

        r_t = σ(W_r x_t + U_r h_{t−1} + b_r)
        z_t = σ(W_z x_t + b_z)
        h_t = z_t ∘ tanh(U_h (r_t ∘ h_{t−1}) + tanh(x_t) + b_h) + (1 − z_t) ∘ h_{t−1}
        y_t = h_t

    Shapes: x, h and y (size,); W (2, size, size): r, z; U: r, h; b (3, size): r, h, z. Cost per
    step: O(size²), of which O(size²) is sequential, in two products, one after the other.
    Source: Jozefowicz, Zaremba & Sutskever 2015, "An empirical exploration of recurrent network
    architectures", PMLR 37. The paper's text was not read; the equations are those of the
    documentation of RecurrentLayers.jl. x enters the candidate without a matrix, so that input and
    state have one size; torchrecurrent 0.2.5 gives it one. Differs: each U is orthogonal at the
    start.

    Args:
        size: features of one input, of the state and of the output, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "2 size size"]
    U: Float[Array, "2 size size"]
    b: Float[Array, "3 size"]

    def __init__(self, size: int, *, key: PRNGKeyArray):
        check_sizes("MUT1", size=size)
        self.W, self.U = gate_matrices(key, (2, size, size), (2, size, size))
        self.b = jnp.zeros((3, size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        r, z = x @ self.W.mT
        return jnp.stack([r, jnp.tanh(x), z]) + self.b

    def update(self, h, u):
        r = sigmoid(h @ self.U[0].mT + u[0])
        n = jnp.tanh((r * h) @ self.U[1].mT + u[1])
        z = sigmoid(u[2])
        return z * n + (1 - z) * h

    def readout(self, h, u):
        return h
