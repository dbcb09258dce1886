from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices, lecun_normal
from .family import AbstractGatedCell


class SCRNState(NamedTuple):
    """The state of an SCRN: the hidden state h and the context s."""

    h: Float[Array, " hidden"]
    s: Float[Array, " context"]


class SCRN(AbstractGatedCell):
    """Structurally constrained recurrent network: some units are slow averages of the inputs.

        s_t = (1 − α) B x_t + α s_{t−1}                        context
        h_t = σ(A x_t + P s_t + R h_{t−1})
        y_t = [h_t, s_t]

    Shapes: x (input,), h (hidden,), s (context,), y (hidden + context,). Cost per step: O((hidden +
    context) · (input + hidden)), of which O(hidden · (hidden + context)) is sequential.
    Source: Mikolov et al. 2014, arXiv:1412.7753; the equations are from memory, since of the paper
    only the introduction was read. The authors' program, facebookarchive/SCRNNs (mfactory.lua),
    says P s_t in its comment and computes P s_{t−1}; it has a matrix in place of α and no 1 − α.
    Differs: y is what the output f(U h_t + V s_t) is computed from by one linear map;
    torchrecurrent 0.2.5 feeds that output back in place of h_{t−1}; R is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of h, > 0.
        context_size: features of s, > 0.
        alpha: α, the part of the context that stays at each step, in [0, 1).
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or an alpha
            outside of [0, 1).
    """

    recurrent_weights: ClassVar = ("P", "R")

    A: Float[Array, "hidden input"]
    B: Float[Array, "context input"]
    P: Float[Array, "hidden context"]
    R: Float[Array, "hidden hidden"]
    alpha: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        context_size: int,
        alpha: float = 0.95,
        key: PRNGKeyArray,
    ):
        check_sizes(
            "SCRN", input_size=input_size, hidden_size=hidden_size, context_size=context_size
        )
        if not 0 <= alpha < 1:
            raise bad_input(
                f"SCRN got alpha={alpha!r}.",
                "0 <= alpha < 1, the part of the context that stays at each step.",
                "choose it close to 1 for a long memory; the paper has 0.95.",
            )
        keys = jax.random.split(key, 3)
        self.A, self.R = gate_matrices(
            keys[0], (hidden_size, input_size), (hidden_size, hidden_size)
        )
        self.B = lecun_normal(keys[1], (context_size, input_size))
        self.P = lecun_normal(keys[2], (hidden_size, context_size))
        self.alpha = alpha

    @property
    def input_shape(self):
        return self.A.shape[-1:]

    def init_state(self):
        dtype = state_dtype(self.P)
        return SCRNState(*(jnp.zeros(size, dtype) for size in self.P.shape[-2:]))

    def project(self, x):
        s = (1 - self.alpha) * (x @ self.B.mT)
        return x @ self.A.mT + s @ self.P.mT, s

    def mix(self, state, drive):
        u, s = drive
        decayed = self.alpha * state.s
        return u + decayed @ self.P.mT + state.h @ self.R.mT, decayed + s

    def gate(self, state, z):
        h, s = z
        return SCRNState(sigmoid(h), s)

    def readout(self, state, drive):
        return jnp.concatenate(state)
