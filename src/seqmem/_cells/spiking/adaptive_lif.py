from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_positive
from ..gated.family import AbstractGatedCell
from .parameters import check_spiking_cell, decay, log_time_constants, spiking_matrices
from .resets import AbstractReset, SubtractThreshold
from .surrogates import AbstractSurrogate, Triangular


class AdaptiveLIFState(NamedTuple):
    """The state of adaptive units: the spikes s, the potentials v that made them, before their
    reset, and the adaptation a, which raises the threshold.
    """

    s: Float[Array, " hidden"]
    v: Float[Array, " hidden"]
    a: Float[Array, " hidden"]


class AdaptiveLIF(AbstractGatedCell):
    """Adaptive leaky integrate-and-fire units (ALIF, of the LSNN): every spike raises the
    threshold, which comes back slowly, so that it is a memory of many steps.

        z_t = W x_t + U s_{t−1} + b
        a_t = ρ ∘ a_{t−1} + s_{t−1}                    ρ = exp(−1/τ_a)
        v_t = reset(α ∘ v_{t−1}, s_{t−1}) + z_t        α = exp(−1/τ)
        s_t = Θ(v_t − (1 + β a_t))
        y_t = s_t

    with reset(v, s) = v − s (`seqmem.spikes.SubtractThreshold`) or (1 − s) ∘ v (`ToZero`), and with
    U only where the cell is recurrent.

    Shapes: x (input,), s, v, a and y (hidden,), y of 0.0 and 1.0, τ in steps. Cost per step:
    O(hidden · (input + hidden)), of which O(hidden²) is sequential; without U O(hidden · input) and
    O(hidden).
    Source: Bellec et al. 2020, Nature Communications 11, doi:10.1038/s41467-020-17236-y; the paper
    itself was not read, the equations are those of the authors' program,
    IGITUGraz/eligibility_propagation (EligALIF). Differs: no refractory steps, a diagonal of U, a
    bias, and no gradient through the reset unless it is asked for; U is orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: units, > 0.
        is_recurrent: whether the spikes of the last step are inputs too, through U.
        beta: β, what a spike adds to the threshold, > 0.
        tau: τ of the potential at the start, in steps, > 0: a number, or one for each unit.
        tau_adaptation: τ_a of the threshold at the start, as tau.
        learns_tau: whether the time constants have a gradient.
        surrogate: what stands for the derivative of a spike.
        reset: what a spike does to its potential in the next step.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, a time constant or a beta
            that is not above 0, or a surrogate or reset of another kind.
    """

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden hidden"] | None
    b: Float[Array, " hidden"]
    log_tau: Float[Array, " hidden"]
    log_tau_adaptation: Float[Array, " hidden"]
    beta: float = eqx.field(static=True)
    learns_tau: bool = eqx.field(static=True)
    surrogate: AbstractSurrogate = eqx.field(static=True)
    reset: AbstractReset = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        is_recurrent: bool = True,
        beta: float = 0.1,
        tau: ArrayLike = 20.0,
        tau_adaptation: ArrayLike = 200.0,
        learns_tau: bool = True,
        surrogate: AbstractSurrogate = Triangular(),
        reset: AbstractReset = SubtractThreshold(),
        key: PRNGKeyArray,
    ):
        name = "AdaptiveLIF"
        check_spiking_cell(name, input_size, hidden_size, surrogate, reset)
        check_positive(name, "beta", beta, remedy="use seqmem.LIF for a fixed threshold.")
        self.W, self.U = spiking_matrices(key, input_size, hidden_size, is_recurrent)
        self.b = jnp.zeros(hidden_size)
        self.log_tau = log_time_constants(name, "tau", tau, hidden_size)
        self.log_tau_adaptation = log_time_constants(
            name, "tau_adaptation", tau_adaptation, hidden_size
        )
        self.beta, self.learns_tau = beta, learns_tau
        self.surrogate, self.reset = surrogate, reset

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    @property
    def recurrent_weights(self):
        return () if self.U is None else ("U",)

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return AdaptiveLIFState(*(jnp.zeros(size, dtype) for _ in AdaptiveLIFState._fields))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, state, u):
        return u if self.U is None else state.s @ self.U.mT + u

    def gate(self, state, z):
        alpha = decay(self.log_tau, is_learned=self.learns_tau)
        rho = decay(self.log_tau_adaptation, is_learned=self.learns_tau)
        a = rho * state.a + state.s
        v = self.reset(alpha * state.v, state.s) + z
        return AdaptiveLIFState(self.surrogate(v - (1 + self.beta * a)), v, a)

    def readout(self, state, u):
        return state.s
