from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices
from .family import AbstractGatedCell


class FastGRNN(AbstractGatedCell):
    """FastGRNN: the gate of a FastRNN, from the same two matrices as its candidate.

        m_t = W x_t + U h_{t−1}
        z_t = σ(m_t + b_z)                                              gate
        n_t = tanh(m_t + b_n)                                           candidate
        h_t = (σ(ζ) (1 − z_t) + σ(ν)) ∘ n_t + z_t ∘ h_{t−1}
        y_t = h_t

    Shapes: x (input,), h and y (hidden,); b (2, hidden): z, n; ζ and ν (). Cost per step:
    O(hidden · (input + hidden)), of which O(hidden²) is sequential.
    Source: Kusupati et al. 2018, arXiv:1901.02358. The paper's text was not read; the equations,
    and b = 1, ζ = 1 and ν = −4 at the start, are those of its authors' program (EdgeML). Differs:
    W and U have full rank; U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden hidden"]
    b: Float[Array, "2 hidden"]
    zeta: Float[Array, ""]
    nu: Float[Array, ""]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("FastGRNN", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = gate_matrices(key, (hidden_size, input_size), (hidden_size, hidden_size))
        self.b = jnp.ones((2, hidden_size))
        self.zeta, self.nu = jnp.asarray(1.0), jnp.asarray(-4.0)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT

    def mix(self, h, u):
        return h @ self.U.mT + u

    def gate(self, h, m):
        z, n = sigmoid(m + self.b[0]), jnp.tanh(m + self.b[1])
        return (sigmoid(self.zeta) * (1 - z) + sigmoid(self.nu)) * n + z * h

    def readout(self, h, u):
        return h
