from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices
from .family import AbstractGatedCell


class ResetAfterMGU(AbstractGatedCell):
    """Minimal gated unit whose forget gate is applied after the product: a GRU whose reset and
    update gates are one.

        f_t = σ(W_f x_t + U_f h_{t−1} + b_f)                            forget gate
        n_t = tanh(W_n x_t + b_n + f_t ∘ (U_n h_{t−1} + c))             candidate
        h_t = (1 − f_t) ∘ n_t + f_t ∘ h_{t−1}
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential, in one product.
    Source: Flax 0.12, `flax.linen.MGUCell`, after Zhou et al. 2016, arXiv:1603.09420. Differs from
    the paper, of which `seqmem.MGU` is the form: f is applied after the product, with a bias c, so
    that both products are one, and an f of 1 keeps the state, where the paper's replaces it. Each U
    is orthogonal at the start, and b_f is 0, where it is 1 in Flax.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("forget", "candidate")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "2 hidden input"]
    U: Float[Array, "2 hidden hidden"]
    b: Float[Array, "2 hidden"]
    c: Float[Array, " hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("ResetAfterMGU", input_size=input_size, hidden_size=hidden_size)
        self.W, self.U = gate_matrices(
            key, (2, hidden_size, input_size), (2, hidden_size, hidden_size)
        )
        self.b = jnp.zeros((2, hidden_size))
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
        return m[0] + u[0], m[1] + self.c, u[1]

    def gate(self, h, pre):
        f, from_state, from_input = pre
        f = sigmoid(f)
        return (1 - f) * jnp.tanh(from_input + f * from_state) + f * h

    def readout(self, h, u):
        return h
