from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal
from .family import AbstractDiagonalCell


class QRNN(AbstractDiagonalCell):
    """Quasi-recurrent neural network with fo-pooling: a gated moving average and an output gate.

        z_t = tanh(W_z x_t + b_z)           gate "candidate"
        f_t, o_t = σ(W x_t + b)             forget and output gate
        c_t = f_t ∘ c_{t−1} + (1 − f_t) ∘ z_t
        y_t = o_t ∘ c_t

    Shapes: x (input,), c and y (hidden,). Cost per step: O(input · hidden), of which O(hidden) is
    sequential.
    Source: Bradbury et al. 2017, arXiv:1611.01576. Differs: filters of width 1 (for a wider one put
    `seqmem.CausalConv` before the cell); biases, as in the authors' code.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.QRNN(3, 5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
        >>> state.shape, ys.shape
        ((5,), (7, 5))
    """

    gates: ClassVar = ("candidate", "forget", "output")

    W: Float[Array, "3 hidden input"]
    b: Float[Array, "3 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("QRNN", input_size=input_size, hidden_size=hidden_size)
        self.W = lecun_normal(key, (3, hidden_size, input_size))
        self.b = jnp.zeros((3, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def update(self, c, u):
        z, f, _ = u
        return sigmoid(f) * c + sigmoid(-f) * jnp.tanh(z)

    def readout(self, c, u):
        _, _, o = u
        return sigmoid(o) * c
