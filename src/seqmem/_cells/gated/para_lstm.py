import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..._methods.newton.jacobians import BlockJacobian
from ..initialisers import lecun_normal, normal
from .family import AbstractGatedCell
from .lstm import LSTMState


class ParaLSTM(AbstractGatedCell):
    """LSTM with diagonal recurrent weights, peepholes and an input gate 1 − f: units do not read
    each other, and the Jacobian of a step is a block of 2 × 2 per unit, for h and c.

        f_t = σ(W_f x_t + u_f ∘ h_{t−1} + p_f ∘ c_{t−1} + b_f)      forget gate
        g_t = tanh(W_g x_t + u_g ∘ h_{t−1} + b_g)                   candidate
        c_t = f_t ∘ c_{t−1} + (1 − f_t) ∘ g_t
        o_t = σ(W_o x_t + u_o ∘ h_{t−1} + p_o ∘ c_t + b_o)          output gate
        h_t = o_t ∘ tanh(c_t)
        y_t = h_t

    Shapes: x (input,), h, c and y (hidden,), W (3, hidden, input), u and b (3, hidden), in the
    order f, g, o, and p (2, hidden), in the order f, o. Cost per step: O(input · hidden), of which
    O(hidden) is sequential; none with `seqmem.Newton`, in a few iterations.
    Source: Danieli et al. 2025, arXiv:2510.21450 (ParaRNN). The paper's text was not read; the
    equations are those of the authors' program, apple/ml-pararnn (its LSTMCIFGDiagMH, in the fork
    xaviergonzalez/ml-pararnn). Differs: each W is one matrix, not a block for every head, and has
    entries of variance 1/input at the start; u, p and b start as there, u and p normal with the
    variance 4 / (5 hidden), b_f from 0 to −1, the others 0; nothing is clipped in training.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of h and of c, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.ParaLSTM(3, 5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)), method=seqmem.Newton())
        >>> state.c.shape, ys.shape
        ((5,), (7, 5))
    """

    jacobian: ClassVar = BlockJacobian()
    recurrent_weights: ClassVar = ("u",)

    W: Float[Array, "3 hidden input"]
    u: Float[Array, "3 hidden"]
    p: Float[Array, "2 hidden"]
    b: Float[Array, "3 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("ParaLSTM", input_size=input_size, hidden_size=hidden_size)
        input_key, recurrent_key = jax.random.split(key)
        self.W = lecun_normal(input_key, (3, hidden_size, input_size))
        weights = 2 / math.sqrt(5 * hidden_size) * normal(recurrent_key, (5, hidden_size))
        self.u, self.p = weights[:3], weights[3:]
        self.b = jnp.zeros((3, hidden_size)).at[0].set(-jnp.linspace(0, 1, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return LSTMState(*(jnp.zeros(size, dtype) for _ in LSTMState._fields))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, state, drive):
        return self.u * state.h + drive

    def gate(self, state, z):
        f, g, o = z
        p_f, p_o = self.p
        f = sigmoid(f + p_f * state.c)
        c = f * state.c + (1 - f) * jnp.tanh(g)
        return LSTMState(sigmoid(o + p_o * c) * jnp.tanh(c), c)

    def readout(self, state, drive):
        return state.h
