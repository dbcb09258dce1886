from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import lecun_normal
from .family import AbstractDiagonalCell


class SRU(AbstractDiagonalCell):
    """Simple recurrent unit: a gated running mean, and a gate that lets the input pass by it.

        f_t = σ(W_f x_t + b_f)              forget gate
        r_t = σ(W_r x_t + b_r)              reset gate: memory or input
        c_t = f_t ∘ c_{t−1} + (1 − f_t) ∘ (W x_t + b)
        y_t = r_t ∘ c_t + (1 − r_t) ∘ x_t

    Shapes: x, c and y (size,). Cost per step: O(size²), of which O(size) is sequential.
    Source: Lei et al. 2018, arXiv:1709.02755, a single layer. Differs: v_f = v_r = 0, so that the
    gates look at the input alone, as in the paper's first version ("Training RNNs as Fast as
    CNNs"); with v_f ≠ 0 the state stands within a sigmoid and no longer moves linearly. The
    candidate W x_t has a bias, 0 at the start; x_t is not scaled where it passes by.

    Args:
        size: entries of one input, of the state and of one output, > 0.
        key: for the initial parameters.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.SRU(5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), jax.numpy.ones((7, 5)))
        >>> state.shape, ys.shape
        ((5,), (7, 5))
    """

    gates: ClassVar = ("candidate", "forget", "reset")

    W: Float[Array, "3 size size"]
    b: Float[Array, "3 size"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore

    def __init__(self, size: int, *, key: PRNGKeyArray):
        self.W = lecun_normal(key, (3, size, size))
        self.b = jnp.zeros((3, size))
        self.input_shape = (size,)

    def init_state(self):
        return jnp.zeros(self.input_shape[0], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b, x

    def update(self, c, u):
        candidate, f, _ = u[0]
        return sigmoid(f) * c + sigmoid(-f) * candidate

    def readout(self, c, u):
        (_, _, r), x = u
        return sigmoid(r) * c + sigmoid(-r) * x
