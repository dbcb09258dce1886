from typing import ClassVar

import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal
from .family import AbstractDiagonalCell


class MinLSTM(AbstractDiagonalCell):
    """Minimal LSTM: its two gates depend on the input only and are normalised to a sum of 1.

        f_t, i_t = σ(W x_t + b)             forget and input gate
        c_t = W_c x_t + b_c                 gate "candidate"
        f'_t = f_t / (f_t + i_t),  i'_t = i_t / (f_t + i_t)
        h_t = f'_t ∘ h_{t−1} + i'_t ∘ c_t
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(input · hidden), of which O(hidden) is
    sequential.
    Source: Feng et al. 2024, arXiv:2410.01201, section 3.2.4 and algorithm 3, which has the
    "length independence scaling" f' and i'. Differs: f' is computed as σ(ln f − ln i), so that two
    closed gates are not 0/0; c_t is not made positive by a function g, which the paper needs for
    its computation in log space only.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters. See `seqmem.with_chrono_bias` for known time
            lags.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.MinLSTM(3, 5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
        >>> state.shape, ys.shape
        ((5,), (7, 5))
    """

    gates: ClassVar = ("forget", "input", "candidate")

    W: Float[Array, "3 hidden input"]
    b: Float[Array, "3 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("MinLSTM", input_size=input_size, hidden_size=hidden_size)
        self.W = lecun_normal(key, (3, hidden_size, input_size))
        self.b = jnp.zeros((3, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def update(self, h, u):
        f, i, c = u
        log_ratio = log_sigmoid(f) - log_sigmoid(i)
        return sigmoid(log_ratio) * h + sigmoid(-log_ratio) * c

    def readout(self, h, u):
        return h
