from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices


class MUT3(AbstractCell):
    """Third of the three gated units that a search over ten thousand architectures found.

        z_t = σ(W_z x_t + U_z tanh(h_{t−1}) + b_z)                     input gate
        r_t = σ(W_r x_t + U_r h_{t−1} + b_r)                           reset gate
        n_t = tanh(W_n x_t + U_n (r_t ∘ h_{t−1}) + b_n)                candidate
        h_t = z_t ∘ n_t + (1 − z_t) ∘ h_{t−1}
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential, in two products, one after the other.
    Source: Jozefowicz, Zaremba & Sutskever 2015, "An empirical exploration of recurrent network
    architectures", PMLR 37. The paper's text was not read; the equations are those of the
    documentation of RecurrentLayers.jl. Differs: each U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("input", "reset", "candidate")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "3 hidden input"]
    U: Float[Array, "3 hidden hidden"]
    b: Float[Array, "3 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("MUT3", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = gate_matrices(
            key, (3, hidden_size, input_size), (3, hidden_size, hidden_size)
        )
        self.b = jnp.zeros((3, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def update(self, h, u):
        z = sigmoid(jnp.tanh(h) @ self.U[0].mT + u[0])
        r = sigmoid(h @ self.U[1].mT + u[1])
        n = jnp.tanh((r * h) @ self.U[2].mT + u[2])
        return z * n + (1 - z) * h

    def readout(self, h, u):
        return h
