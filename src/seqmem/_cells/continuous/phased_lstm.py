import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..._core.timed import Timed
from ..._core.validation import check_sizes
from ..gated.family import AbstractGatedCell
from ..initialisers import gate_biases, gate_matrices, uniform, uniform_log


class PhasedLSTMState(NamedTuple):
    """The hidden state h, which is the output, the memory c, and the phase φ of each unit."""

    h: Float[Array, " hidden"]
    c: Float[Array, " hidden"]
    phase: Float[Array, " hidden"]


class PhasedLSTM(AbstractGatedCell):
    """Phased LSTM: an LSTM in which each unit has a rhythm of its own and changes only while its
    time gate is open, a small part of each period.

        φ_t = (φ_{t−1} + Δt_t / τ) mod 1,  φ_0 = (−s / τ) mod 1
        k_t = 2 φ_t / r        where φ_t < r / 2
              2 − 2 φ_t / r    where r / 2 ≤ φ_t < r
              α φ_t            elsewhere
        i_t, f_t, o_t = σ(W x_t + U h_{t−1} + b)        input, forget and output gate
        g_t = tanh(W_g x_t + U_g h_{t−1} + b_g)         candidate, gate "cell"
        c̃_t = f_t ∘ c_{t−1} + i_t ∘ g_t
        h̃_t = o_t ∘ tanh(c̃_t)
        c_t = k_t ∘ c̃_t + (1 − k_t) ∘ c_{t−1}
        h_t = k_t ∘ h̃_t + (1 − k_t) ∘ h_{t−1}
        y_t = h_t

    with the period τ = exp(log τ). The input is `seqmem.Timed(x, delta_t)`. φ_t is the phase
    ((t − s) mod τ) / τ of the paper at the time t, the sum of all Δt; a sum of phases stays exact
    where t has grown large.

    Shapes: x (input,), Δt (), h, c, φ, τ, s, r and y (hidden,), α (). Cost per step: O(hidden ·
    (input + hidden)), of which O(hidden²) is sequential.
    Source: Neil et al. 2016, arXiv:1610.09513, section 2; the paper was not read, the equations are
    those of the authors' program, dannyneil/public_plstm (plstm.py), but for the sign of s, which
    that program adds to t. Differs: no peepholes, which are optional there; a closed gate saves no
    computation. At the start τ is log-uniform in [period_min, period_max), s uniform in [0, τ), and
    each U is orthogonal, and the bias of the forget gate is 1.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of h and of c, > 0.
        period_min: smallest period at the start, in the unit of Δt, > 0.
        period_max: largest period at the start, > period_min.
        ratio_on: r at the start, the part of a period in which a gate is open, in (0, 1].
        leak: α, by which a closed gate leaks, >= 0; it gets no gradient. The paper trains with
            0.001 and tests with 0: `equinox.tree_at(lambda cell: cell.leak, cell,
            jax.numpy.zeros(()))`.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or periods, ratio_on or
            leak out of range.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.PhasedLSTM(3, 5, key=jax.random.key(0))
        >>> xs = seqmem.Timed(jnp.ones((7, 3)), jnp.linspace(0.1, 2, 7))
        >>> seqmem.unroll(cell, None, xs)[1].shape
        (7, 5)
    """

    gates: ClassVar = ("input", "forget", "cell", "output")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "4 hidden input"]
    U: Float[Array, "4 hidden hidden"]
    b: Float[Array, "4 hidden"]
    log_tau: Float[Array, " hidden"]
    shift: Float[Array, " hidden"]
    ratio_on: Float[Array, " hidden"]
    leak: Float[Array, ""]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        period_min: float = 1.0,
        period_max: float = 1000.0,
        ratio_on: float = 0.05,
        leak: float = 0.001,
        key: PRNGKeyArray,
    ):
        check_sizes("PhasedLSTM", input_size=input_size, hidden_size=hidden_size)
        if not (0 < period_min < period_max < math.inf and 0 < ratio_on <= 1 and leak >= 0):
            raise bad_input(
                f"PhasedLSTM got period_min={period_min}, period_max={period_max}, "
                f"ratio_on={ratio_on} and leak={leak}.",
                "0 < period_min < period_max, 0 < ratio_on <= 1 and leak >= 0.",
                "choose periods from about one step to the length of a sequence, in the unit of "
                "delta_t.",
            )
        keys = jax.random.split(key, 3)
        self.W, self.U = gate_matrices(
            keys[0], (4, hidden_size, input_size), (4, hidden_size, hidden_size)
        )
        self.b = gate_biases(self.gates, hidden_size, forget=1.0)
        self.log_tau = uniform_log(keys[1], (hidden_size,), period_min, period_max)
        self.shift = jnp.exp(self.log_tau) * uniform(keys[2], (hidden_size,), 0.0, 1.0)
        self.ratio_on = jnp.full(hidden_size, ratio_on)
        self.leak = jnp.asarray(leak, self.b.dtype)

    @property
    def input_shape(self):
        return Timed(self.W.shape[-1:], ())

    def init_state(self):
        size, dtype = self.b.shape[-1], state_dtype(self.b)
        phase = jnp.mod(-self.shift.astype(dtype) * jnp.exp(-self.log_tau.astype(dtype)), 1.0)
        return PhasedLSTMState(jnp.zeros(size, dtype), jnp.zeros(size, dtype), phase)

    def project(self, x):
        return x.x @ self.W.mT + self.b, x.delta_t

    def mix(self, state, u):
        u, delta_t = u
        return state.h @ self.U.mT + u, delta_t

    def gate(self, state, z):
        (i, f, g, o), delta_t = z
        phase = jnp.mod(state.phase + delta_t * jnp.exp(-self.log_tau), 1.0)
        k = self.openness(phase)
        new_c = sigmoid(f) * state.c + sigmoid(i) * jnp.tanh(g)
        new_h = sigmoid(o) * jnp.tanh(new_c)
        return PhasedLSTMState(k * new_h + (1 - k) * state.h, k * new_c + (1 - k) * state.c, phase)

    def openness(self, phase: Float[Array, "..."]) -> Float[Array, "..."]:
        """k: how far the time gates are open at a phase, from 0 to 1."""
        rising = 2 * phase / self.ratio_on
        closed = jax.lax.stop_gradient(self.leak) * phase
        is_rising, is_open = phase < self.ratio_on / 2, phase < self.ratio_on
        return jnp.where(is_rising, rising, jnp.where(is_open, 2 - rising, closed))

    def readout(self, state, u):
        return state.h
