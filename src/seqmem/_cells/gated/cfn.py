from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices
from .family import AbstractGatedCell


class CFN(AbstractGatedCell):
    """Chaos-free network: without an input its state decays to 0, whatever the weights.

        f_t, i_t = σ(W x_t + U h_{t−1} + b)                   the paper's θ and η
        h_t = f_t ∘ tanh(h_{t−1}) + i_t ∘ tanh(W_n x_t)
        y_t = h_t

    Shapes: x (input,), h and y (hidden,); W (3, hidden, input): forget, input, candidate. Cost per
    step: O(hidden · (input + hidden)), of which O(hidden²) is sequential.
    Source: Laurent & von Brecht 2016, arXiv:1612.06212. The paper's text was not read; the
    equations are those of torchrecurrent 0.2.5. Differs: the candidate has no bias, since with one
    the state would not decay to 0; each U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("forget", "input")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "3 hidden input"]
    U: Float[Array, "2 hidden hidden"]
    b: Float[Array, "2 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("CFN", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = gate_matrices(
            key, (3, hidden_size, input_size), (2, hidden_size, hidden_size)
        )
        self.b = jnp.zeros((2, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + jnp.pad(self.b, ((0, 1), (0, 0)))

    def mix(self, h, u):
        return h @ self.U.mT + u[:2], u[2]

    def gate(self, h, pre):
        (f, i), n = pre
        return sigmoid(f) * jnp.tanh(h) + sigmoid(i) * jnp.tanh(n)

    def readout(self, h, u):
        return h
