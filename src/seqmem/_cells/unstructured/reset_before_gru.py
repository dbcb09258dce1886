from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..initialisers import lecun_normal, orthogonal


class ResetBeforeGRU(AbstractCell):
    """The gated recurrent unit of 2014: the reset gate hides parts of the state before the product
    sees them.

        r_t = σ(W_r x_t + U_r h_{t−1} + b_r)                            reset gate
        z_t = σ(W_z x_t + U_z h_{t−1} + b_z)                            update gate
        n_t = tanh(W_n x_t + U_n (r_t ∘ h_{t−1}) + b_n)                 candidate
        h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t−1}
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential, in two products that wait for each other; it is not a gated cell in
    the sense of `seqmem.AbstractGatedCell`.
    Source: Cho et al. 2014, arXiv:1406.1078, equations 5–8. Differs: biases, which the paper omits.

    Args:
        input_size: entries of one input, > 0.
        hidden_size: entries of the state, > 0.
        key: for the initial parameters.
    """

    gates: ClassVar = ("reset", "update", "candidate")

    W: Float[Array, "3 hidden input"]
    U: Float[Array, "3 hidden hidden"]
    b: Float[Array, "3 hidden"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        input_key, recurrent_key = jax.random.split(key)
        self.W = lecun_normal(input_key, (3, hidden_size, input_size))
        self.U = orthogonal(recurrent_key, (3, hidden_size, hidden_size))
        self.b = jnp.zeros((3, hidden_size))
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size

    def init_state(self):
        return jnp.zeros(self.hidden_size, state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def update(self, h, u):
        r, z = sigmoid(h @ self.U[:2].mT + u[:2])
        n = jnp.tanh((r * h) @ self.U[2].mT + u[2])
        return (1 - z) * n + z * h

    def readout(self, h, u):
        return h
