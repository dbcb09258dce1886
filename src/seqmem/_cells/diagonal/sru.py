from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal
from .family import AbstractDiagonalCell


class SRU(AbstractDiagonalCell):
    """Simple recurrent unit: a gated moving average, and a second gate between it and the input.

        f_t = σ(W_f x_t + b_f)              forget gate
        r_t = σ(W_r x_t + b_r)              reset gate, between c_t and x_t
        c_t = f_t ∘ c_{t−1} + (1 − f_t) ∘ (W x_t + b)
        y_t = r_t ∘ c_t + (1 − r_t) ∘ x_t

    Shapes: x, c and y (size,). Cost per step: O(size²), of which O(size) is sequential.
    Source: Lei et al. 2018, arXiv:1709.02755, a single layer. Differs: v_f = v_r = 0, so that the
    gates depend on the input only, as in the paper's first version ("Training RNNs as Fast as
    CNNs"); with v_f ≠ 0 the state would enter a sigmoid and the update would not be linear. The
    candidate W x_t has a bias, 0 at the start; x_t is not scaled in the last equation.

    Args:
        size: features of one input, of the state and of one output, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.SRU(5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 5)))
        >>> state.shape, ys.shape
        ((5,), (7, 5))
    """

    gates: ClassVar = ("candidate", "forget", "reset")

    W: Float[Array, "3 size size"]
    b: Float[Array, "3 size"]

    def __init__(self, size: int, *, key: PRNGKeyArray):
        check_sizes("SRU", size=size)
        self.W = lecun_normal(key, (3, size, size))
        self.b = jnp.zeros((3, size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b, x

    def update(self, c, u):
        candidate, f, _ = u[0]
        return sigmoid(f) * c + sigmoid(-f) * candidate

    def readout(self, c, u):
        (_, _, r), x = u
        return sigmoid(r) * c + sigmoid(-r) * x
