from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..initialisers import lecun_normal, orthogonal


class MGU(AbstractCell):
    """Minimal gated unit: one gate that both hides the state from the candidate and lets the
    candidate in.

        f_t = σ(W_f x_t + U_f h_{t−1} + b_f)                            forget gate
        n_t = tanh(W_n x_t + U_n (f_t ∘ h_{t−1}) + b_n)                 candidate
        h_t = (1 − f_t) ∘ h_{t−1} + f_t ∘ n_t
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential, in two products that wait for each other.
    Source: Zhou et al. 2016, arXiv:1603.09420. Differs: none.

    Args:
        input_size: entries of one input, > 0.
        hidden_size: entries of the state, > 0.
        key: for the initial parameters.
    """

    gates: ClassVar = ("forget", "candidate")

    W: Float[Array, "2 hidden input"]
    U: Float[Array, "2 hidden hidden"]
    b: Float[Array, "2 hidden"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        input_key, recurrent_key = jax.random.split(key)
        self.W = lecun_normal(input_key, (2, hidden_size, input_size))
        self.U = orthogonal(recurrent_key, (2, hidden_size, hidden_size))
        self.b = jnp.zeros((2, hidden_size))
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size

    def init_state(self):
        return jnp.zeros(self.hidden_size, state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def update(self, h, u):
        f = sigmoid(h @ self.U[0].mT + u[0])
        n = jnp.tanh((f * h) @ self.U[1].mT + u[1])
        return (1 - f) * h + f * n

    def readout(self, h, u):
        return h
