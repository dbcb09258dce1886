from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..gated.family import AbstractGatedCell
from .parameters import check_spiking_cell, decay, log_time_constants, spiking_matrices
from .resets import AbstractReset, SubtractThreshold
from .surrogates import AbstractSurrogate, FastSigmoid


class LIFState(NamedTuple):
    """The state of leaky integrate-and-fire units: the spikes s and the potentials v that made
    them, before their reset.
    """

    s: Float[Array, " hidden"]
    v: Float[Array, " hidden"]


class LIF(AbstractGatedCell):
    """Leaky integrate-and-fire units: a potential that decays, and a spike where it passes the
    threshold.

        z_t = W x_t + U s_{t−1} + b
        v_t = reset(α ∘ v_{t−1}, s_{t−1}) + z_t        α = exp(−1/τ)
        s_t = Θ(v_t − 1)
        y_t = s_t

    with reset(v, s) = v − s (`seqmem.spikes.SubtractThreshold`) or (1 − s) ∘ v (`ToZero`), and with
    U only where the cell is recurrent. The threshold is 1: another one is a factor of W, U and b.

    Shapes: x (input,), s, v and y (hidden,), y of 0.0 and 1.0, τ in steps. Cost per step:
    O(hidden · (input + hidden)), of which O(hidden²) is sequential; without U O(hidden · input) and
    O(hidden). Newton's methods correct states by surrogate derivatives, which changes the number of
    iterations and no result.
    Source: Neftci, Mostafa & Zenke 2019, arXiv:1901.09948; the paper itself was not read, the
    equations are those of snntorch 1.0.0 (Leaky, and RLeaky for a recurrent cell). Differs: time
    constants in place of decays, and of the recurrent cells ToZero is snntorch's Leaky alone; U is
    orthogonal at the start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: units, > 0.
        is_recurrent: whether the spikes of the last step are inputs too, through U.
        tau: τ at the start, in steps, > 0: a number, or one for each unit.
        learns_tau: whether the time constants have a gradient.
        surrogate: what stands for the derivative of a spike.
        reset: what a spike does to its potential in the next step.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, a time constant that is not
            above 0, or a surrogate or reset of another kind.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LIF(3, 5, reset=seqmem.spikes.ToZero(), key=jax.random.key(0))
        >>> state, spikes = seqmem.unroll(cell, None, jax.numpy.ones((100, 3)))
        >>> spikes.shape, sorted(set(spikes.ravel().tolist()))
        ((100, 5), [0.0, 1.0])
    """

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden hidden"] | None
    b: Float[Array, " hidden"]
    log_tau: Float[Array, " hidden"]
    learns_tau: bool = eqx.field(static=True)
    surrogate: AbstractSurrogate = eqx.field(static=True)
    reset: AbstractReset = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        is_recurrent: bool = False,
        tau: ArrayLike = 10.0,
        learns_tau: bool = True,
        surrogate: AbstractSurrogate = FastSigmoid(),
        reset: AbstractReset = SubtractThreshold(),
        key: PRNGKeyArray,
    ):
        check_spiking_cell("LIF", input_size, hidden_size, surrogate, reset)
        self.W, self.U = spiking_matrices(key, input_size, hidden_size, is_recurrent)
        self.b = jnp.zeros(hidden_size)
        self.log_tau = log_time_constants("LIF", "tau", tau, hidden_size)
        self.learns_tau, self.surrogate, self.reset = learns_tau, surrogate, reset

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    @property
    def recurrent_weights(self):
        return () if self.U is None else ("U",)

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        return LIFState(*(jnp.zeros(size, dtype) for _ in LIFState._fields))

    def project(self, x):
        return x @ self.W.mT + self.b

    def mix(self, state, u):
        return u if self.U is None else state.s @ self.U.mT + u

    def gate(self, state, z):
        alpha = decay(self.log_tau, is_learned=self.learns_tau)
        v = self.reset(alpha * state.v, state.s) + z
        return LIFState(self.surrogate(v - 1), v)

    def readout(self, state, u):
        return state.s
