from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_positive, check_sizes
from ..initialisers import lecun_normal
from ..matrices.structure import StructuredMatrix
from ..matrices.symmetric_skew import SymmetricSkew
from .family import AbstractGatedCell


class LipschitzRNN(AbstractGatedCell):
    """Lipschitz recurrent network: Euler steps of a linear system with a Lipschitz nonlinearity.

        A = S(M_A),  U = S(M_U),  S(M) = (1 − β) (M + Mᵀ) + β (M − Mᵀ) − γ I
        h_t = h_{t−1} + ε A h_{t−1} + ε tanh(U h_{t−1} + W x_t + b)
        y_t = h_t

    Shapes: x (input,), h and y (hidden,); A and U are the two rows of the field U, (2, hidden,
    hidden). Cost per step: O(hidden · (input + hidden)), of which O(hidden²) is sequential.
    Source: Erichson et al. 2021, arXiv:2006.12070. The paper's text was not read; the equations are
    those of the authors' program, erichson/LipschitzRNN, with α = 1. Differs: M is the
    transpose of theirs; M and W are normal at the start, of variance 1/columns.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        step_size: ε, > 0.
        skew: β, 0 <= β <= 1.
        damping: γ, >= 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, a step_size that is not
            above 0, a skew outside of [0, 1], or a damping below 0.
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "hidden input"]
    U: Float[Array, "2 hidden hidden"] | StructuredMatrix
    b: Float[Array, " hidden"]
    step_size: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        step_size: float = 0.01,
        skew: float = 0.8,
        damping: float = 0.01,
        key: PRNGKeyArray,
    ):
        check_sizes("LipschitzRNN", input_size=input_size, hidden_size=hidden_size)
        check_positive("LipschitzRNN", "step_size", step_size, remedy="leave it out for 0.01.")
        input_key, recurrent_key = jax.random.split(key)
        structure = SymmetricSkew(skew, damping)
        self.W = lecun_normal(input_key, (hidden_size, input_size))
        self.U = structure(recurrent_key, (2, hidden_size, hidden_size))
        self.b = jnp.zeros(hidden_size)
        self.step_size = step_size

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, h, u):
        linear, nonlinear = h @ self.U.mT
        return linear, nonlinear + u

    def gate(self, h, z):
        linear, nonlinear = z
        return h + self.step_size * (linear + jnp.tanh(nonlinear))

    def readout(self, h, u):
        return h
