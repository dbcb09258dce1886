from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import lecun_normal
from .family import AbstractDiagonalCell


class MinLSTM(AbstractDiagonalCell):
    """Minimal LSTM: two gates that look at the input only share one state between old and new.

        f_t, i_t = σ(W x_t + b)             forget and input gate
        c_t = W_c x_t + b_c                 gate "candidate"
        f'_t = f_t / (f_t + i_t),  i'_t = i_t / (f_t + i_t)
        h_t = f'_t ∘ h_{t−1} + i'_t ∘ c_t
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(input · hidden), of which O(hidden) is
    sequential.
    Source: Feng et al. 2024, arXiv:2410.01201, section 3.2.4 and algorithm 3, which has the
    "length independence scaling" f' and i'. Differs: f' is computed as σ(ln f − ln i), so that two
    closed gates are not 0/0 (its log-space form wants positive states, for which it puts a function
    g on c_t; this form does not need it).

    Args:
        input_size: entries of one input, > 0.
        hidden_size: entries of the state, > 0.
        key: for the initial parameters. See `seqmem.with_chrono_bias` for lags that are known.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.MinLSTM(3, 5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), jax.numpy.ones((7, 3)))
        >>> state.shape, ys.shape
        ((5,), (7, 5))
    """

    gates: ClassVar = ("forget", "input", "candidate")

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

    def update(self, h, u):
        f, i, c = u
        ratio = log_sigmoid(f) - log_sigmoid(i)
        return sigmoid(ratio) * h + sigmoid(-ratio) * c

    def readout(self, h, u):
        return h
