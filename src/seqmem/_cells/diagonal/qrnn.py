from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import lecun_normal
from .family import AbstractDiagonalCell


class QRNN(AbstractDiagonalCell):
    """Quasi-recurrent network with fo-pooling: a gated running mean behind an output gate.

        z_t = tanh(W_z x_t + b_z)           gate "candidate"
        f_t, o_t = σ(W x_t + b)             forget and output gate
        c_t = f_t ∘ c_{t−1} + (1 − f_t) ∘ z_t
        y_t = o_t ∘ c_t

    Shapes: x (input,), c and y (hidden,). Cost per step: O(input · hidden), of which O(hidden) is
    sequential.
    Source: Bradbury et al. 2017, arXiv:1611.01576. Differs: filters of width 1 (a filter of width k
    looks at the last k inputs: it is a causal convolution in front, or their concatenation as x);
    biases, as in the authors' code.

    Args:
        input_size: entries of one input, > 0.
        hidden_size: entries of the state, > 0.
        key: for the initial parameters.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.QRNN(3, 5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), jax.numpy.ones((7, 3)))
        >>> state.shape, ys.shape
        ((5,), (7, 5))
    """

    gates: ClassVar = ("candidate", "forget", "output")

    W: Float[Array, "3 hidden input"]
    b: Float[Array, "3 hidden"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        self.W = lecun_normal(key, (3, hidden_size, input_size))
        self.b = jnp.zeros((3, hidden_size))
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size

    def init_state(self):
        return jnp.zeros(self.hidden_size, state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def update(self, c, u):
        z, f, _ = u
        return sigmoid(f) * c + sigmoid(-f) * jnp.tanh(z)

    def readout(self, c, u):
        _, _, o = u
        return sigmoid(o) * c
