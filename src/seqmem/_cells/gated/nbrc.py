from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices
from .family import AbstractGatedCell


class NBRC(AbstractGatedCell):
    """Recurrently neuromodulated bistable cell: all units together set the feedback of each.

        a_t = 1 + tanh(W_a x_t + U_a h_{t−1} + b_a)                 feedback, in (0, 2)
        c_t = σ(W_c x_t + U_c h_{t−1} + b_c)                        update gate
        h_t = c_t ∘ h_{t−1} + (1 − c_t) ∘ tanh(W_h x_t + a_t ∘ h_{t−1})
        y_t = h_t

    Shapes: x (input,), h and y (hidden,); W (3, hidden, input): a, c, h. Cost per step: O(hidden ·
    (input + hidden)), of which O(hidden²) is sequential. `seqmem.BRC` has one number for each unit
    in place of each U.
    Source: Vecoven, Ernst & Drion 2020, arXiv:2006.05252. The paper's text was not read; the
    equations are those of its authors' program (BRC). Differs: each U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    gates: ClassVar = ("feedback", "update")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "3 hidden input"]
    U: Float[Array, "2 hidden hidden"]
    b: Float[Array, "2 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("NBRC", input_size=input_size, hidden_size=hidden_size)
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
        (a, c), from_input = pre
        a, c = 1 + jnp.tanh(a), sigmoid(c)
        return c * h + (1 - c) * jnp.tanh(from_input + a * h)

    def readout(self, h, u):
        return h
