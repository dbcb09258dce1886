from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.validation import check_activation, check_sizes
from ..matrices.structure import AbstractStructure, StructuredMatrix, recurrent_matrices
from ..time_constants import leak, log_time_constants


class CTRNN(AbstractCell):
    """Continuous-time recurrent network of neuroscience: currents that leak, and rates that are
    read from them.

        τ dx/dt = −x + U φ(x) + W u + b
        α = 1 − exp(−Δt/τ)
        x_t = (1 − α) ∘ x_{t−1} + α ∘ (U φ(x_{t−1}) + W u_t + b)
        y_t = φ(x_t)

    Shapes: u (input,), x, y and τ (hidden,); τ and Δt in the same unit of time. Cost per step:
    O(hidden · (input + hidden)), of which O(hidden²) is sequential.
    Source: Song, Yang & Wang 2016, PLoS Computational Biology 12(2),
    doi:10.1371/journal.pcbi.1004792. Its abstract and its section on Dale's law were read; the
    equations are from memory. Differs: α = Δt/τ there, which is a step of Euler; this one is exact
    where φ(x) does not change within the step, so that no τ makes it unstable. τ is learned, as its
    logarithm. Noise is drawn by the caller: `perturbations` of `seqmem.unroll` are added to x after
    each step; σ √(1 − (1 − α)²) ξ_t with standard normal ξ gives a current without input the
    standard deviation σ.

    Args:
        input_size: features of one input, > 0.
        hidden_size: units, > 0.
        time_constants: τ, > 0, one for all units or one for each.
        dt: Δt, the time of one step, > 0.
        activation: φ, a function of an array, entry by entry.
        recurrent: the structure of U, such as `seqmem.LowRank(1)`; None is any matrix, orthogonal
            at the start.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, a time that is not above 0,
            an activation that is not a function, or a structure that U cannot have.

    Example:
        >>> import jax, seqmem
        >>> wiring = 1 - jax.numpy.eye(10)                    # no unit excites itself
        >>> structure = seqmem.Sparse(wiring, seqmem.Dale(0.8))
        >>> cell = seqmem.CTRNN(3, 10, recurrent=structure, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
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
        activation: Callable[[Array], Array] = jnp.tanh,
        recurrent: AbstractStructure | None = None,
        key: PRNGKeyArray,
    ):
        check_sizes("CTRNN", input_size=input_size, hidden_size=hidden_size)
        check_activation("CTRNN", activation)
        self.W, self.U = recurrent_matrices(
            "CTRNN", recurrent, key, (hidden_size, input_size), (hidden_size, hidden_size)
        )
        self.b = jnp.zeros(hidden_size)
        self.log_tau = log_time_constants("CTRNN", time_constants, dt, hidden_size)
        self.dt = dt
        self.activation = activation

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, u):
        return u @ self.W.mT + self.b

    def update(self, x, drive):
        alpha = leak(self.log_tau, self.dt)
        return (1 - alpha) * x + alpha * (self.activation(x) @ self.U.mT + drive)

    def readout(self, x, drive):
        return self.activation(x)
