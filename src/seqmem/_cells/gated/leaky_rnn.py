from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_activation, check_sizes
from ..matrices.structure import AbstractStructure, StructuredMatrix, recurrent_matrices
from ..time_constants import leak, log_time_constants
from .family import AbstractGatedCell


class LeakyRNN(AbstractGatedCell):
    """Leaky recurrent network: firing rates that follow their input with a time constant of each
    unit.

        τ dh/dt = −h + φ(U h + W x + b)
        α = 1 − exp(−Δt/τ)
        h_t = (1 − α) ∘ h_{t−1} + α ∘ φ(U h_{t−1} + W x_t + b)
        y_t = h_t

    Shapes: x (input,), h, y and τ (hidden,); τ and Δt in the same unit of time. Cost per step:
    O(hidden · (input + hidden)), of which O(hidden²) is sequential.
    Source: Yang et al. 2019, Nature Neuroscience 22(2), doi:10.1038/s41593-018-0310-2. The paper
    was not read; the equations are those of its authors' program, gyyang/multitask. Differs: α =
    Δt/τ there, which is a step of Euler; this one is exact where φ does not change within the step,
    so that no τ makes it unstable. τ is learned, as its logarithm. Noise is drawn by the caller:
    `perturbations` of `seqmem.unroll` are added to h after each step. `seqmem.CTRNN` has its leak
    before φ.

    Args:
        input_size: features of one input, > 0.
        hidden_size: units, > 0.
        time_constants: τ, > 0, one for all units or one for each.
        dt: Δt, the time of one step, > 0.
        activation: φ, a function of an array, entry by entry.
        recurrent: the structure of U, such as `seqmem.Dale()`; None is any matrix, orthogonal
            at the start.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, a time that is not above 0,
            an activation that is not a function, or a structure that U cannot have.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LeakyRNN(3, 10, recurrent=seqmem.Dale(0.8), key=jax.random.key(0))
        >>> xs, noise = jax.numpy.ones((7, 3)), jax.random.normal(jax.random.key(1), (7, 10))
        >>> state, ys = seqmem.unroll(cell, None, xs, perturbations=0.05 * noise)
        >>> state.shape, ys.shape
        ((10,), (7, 10))
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden hidden"] | StructuredMatrix
    b: Float[Array, " hidden"]
    log_tau: Float[Array, " hidden"]
    dt: float = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        time_constants: float | Float[Array | np.ndarray, " hidden"] = 5.0,
        dt: float = 1.0,
        activation: Callable[[Array], Array] = jax.nn.relu,
        recurrent: AbstractStructure | None = None,
        key: PRNGKeyArray,
    ):
        check_sizes("LeakyRNN", input_size=input_size, hidden_size=hidden_size)
        check_activation("LeakyRNN", activation)
        self.W, self.U = recurrent_matrices(
            "LeakyRNN", recurrent, key, (hidden_size, input_size), (hidden_size, hidden_size)
        )
        self.b = jnp.zeros(hidden_size)
        self.log_tau = log_time_constants("LeakyRNN", time_constants, dt, hidden_size)
        self.dt = dt
        self.activation = activation

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, h, u):
        return h @ self.U.mT + u

    def gate(self, h, z):
        alpha = leak(self.log_tau, self.dt)
        return (1 - alpha) * h + alpha * self.activation(z)

    def readout(self, h, u):
        return h
