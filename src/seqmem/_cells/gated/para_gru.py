import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..._methods.newton.jacobians import DiagonalJacobian
from ..initialisers import lecun_normal, normal
from .family import AbstractGatedCell


class ParaGRU(AbstractGatedCell):
    """GRU with diagonal recurrent weights, whose units do not read each other, so that Newton's
    method runs all steps at once for O(hidden) numbers per step.

        z_t = σ(W_z x_t + u_z ∘ h_{t−1} + b_z)                      update gate
        r_t = σ(W_r x_t + u_r ∘ h_{t−1} + b_r)                      reset gate
        n_t = tanh(W_n x_t + u_n ∘ (r_t ∘ h_{t−1}) + b_n)           candidate
        h_t = (1 − z_t) ∘ h_{t−1} + z_t ∘ n_t
        y_t = h_t

    Shapes: x (input,), h and y (hidden,), W (3, hidden, input), u and b (3, hidden), in the order
    z, r, n. Cost per step: O(input · hidden), of which O(hidden) is sequential; none with
    `seqmem.Newton`, in a few iterations.
    Source: Danieli et al. 2025, arXiv:2510.21450 (ParaRNN). The paper's text was not read; the
    equations are those of the authors' program, apple/ml-pararnn (its GRUDiagMH, in the fork
    xaviergonzalez/ml-pararnn). Differs: each W is one matrix, not a block for every head, and has
    entries of variance 1/input at the start; u and b start as there, u normal with the variance
    4 / (5 hidden), b_z from 0 to −1, the others 0; u is not clipped in training.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.ParaGRU(3, 5, key=jax.random.key(0))
        >>> xs = jax.numpy.ones((100, 3))
        >>> solution = seqmem.solve(cell, None, xs, method=seqmem.Newton(chunk_size=None))
        >>> solution.outputs.shape, bool(solution.stats.converged)
        ((100, 5), True)
    """

    jacobian: ClassVar = DiagonalJacobian()
    recurrent_weights: ClassVar = ("u",)

    W: Float[Array, "3 hidden input"]
    u: Float[Array, "3 hidden"]
    b: Float[Array, "3 hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("ParaGRU", input_size=input_size, hidden_size=hidden_size)
        input_key, recurrent_key = jax.random.split(key)
        self.W = lecun_normal(input_key, (3, hidden_size, input_size))
        self.u = 2 / math.sqrt(5 * hidden_size) * normal(recurrent_key, (3, hidden_size))
        self.b = jnp.zeros((3, hidden_size)).at[0].set(-jnp.linspace(0, 1, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, h, drive):
        m = self.u * h
        return m[:2] + drive[:2], m[2], drive[2]

    def gate(self, h, pre):
        (z, r), from_state, from_input = pre
        n = jnp.tanh(from_input + sigmoid(r) * from_state)
        z = sigmoid(z)
        return (1 - z) * h + z * n

    def readout(self, h, drive):
        return h
