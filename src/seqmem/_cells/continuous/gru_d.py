from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import relu, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..._core.timed import Observed, Timed
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices, lecun_normal, uniform


class GRUDState(NamedTuple):
    """The hidden state h, the last observation of each input, and the time since then."""

    h: Float[Array, " hidden"]
    last: Float[Array, " input"]
    elapsed: Float[Array, " input"]


class GRUD(AbstractCell):
    """GRU with decay (GRU-D), for inputs with missing entries: a missing entry decays from its last
    observation to its mean, and the hidden state decays towards 0.

        δ_t = Δt_t + elapsed_{t−1}                            time since the last observation
        γ_t = exp(−max(0, w ∘ δ_t + β)),  Γ_t = exp(−max(0, D δ_t + e))
        x̂_t = m_t ∘ x_t + (1 − m_t) ∘ (γ_t ∘ last_{t−1} + (1 − γ_t) ∘ x̄)
        ĥ_t = Γ_t ∘ h_{t−1}
        r_t, z_t = σ(W x̂_t + U ĥ_t + V m_t + b)               reset and update gate
        n_t = tanh(W_n x̂_t + U_n (r_t ∘ ĥ_t) + V_n m_t + b_n)    candidate
        h_t = (1 − z_t) ∘ ĥ_t + z_t ∘ n_t
        last_t = m_t ∘ x_t + (1 − m_t) ∘ last_{t−1},  elapsed_t = (1 − m_t) ∘ δ_t
        y_t = h_t

    The input is `seqmem.Timed(seqmem.Observed(x, is_observed), delta_t)`, and m is 1 where
    `is_observed`. An entry of x that was not observed may be anything, NaN too. At the start last
    is x̄ and elapsed 0; x̄ gets no gradient.

    Shapes: x, m, δ, γ, w, β and x̄ (input,), Δt (), h, Γ and y (hidden,), D (hidden, input). Cost
    per step: O(hidden · (input + hidden)), of which O(hidden · (input + hidden)) is sequential, in
    three products, one after the other.
    Source: Che et al. 2016, arXiv:1606.01865; the paper's text was not read, and the equations are
    those of github.com/subramen/GRU-D with a diagonal decay of the input. Differs: δ and the last
    observation are inputs there, and are computed here from Δt and m; at the start each U is
    orthogonal, w uniform in [0, 1) and D in [0, 1/input), and β and e are 0.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of h, > 0.
        mean: x̄, such as the mean of the observed entries of the training data; None is 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or a mean of another shape
            than (input_size,).

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.GRUD(3, 5, key=jax.random.key(0))
        >>> x = jnp.array([[1.0, 2.0, jnp.nan], [jnp.nan, 3.0, jnp.nan]])
        >>> xs = seqmem.Timed(seqmem.Observed(x, ~jnp.isnan(x)), jnp.array([0.0, 1.5]))
        >>> state, ys = seqmem.unroll(cell, None, xs)
        >>> state.last.tolist(), state.elapsed.tolist()
        ([1.0, 3.0, 0.0], [1.5, 0.0, 1.5])
    """

    gates: ClassVar = ("reset", "update", "candidate")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "3 hidden input"]
    U: Float[Array, "3 hidden hidden"]
    V: Float[Array, "3 hidden input"]
    b: Float[Array, "3 hidden"]
    input_decay: Float[Array, "2 input"]
    D: Float[Array, "hidden input"]
    e: Float[Array, " hidden"]
    mean: Float[Array, " input"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        mean: Float[Array, " input"] | None = None,
        key: PRNGKeyArray,
    ):
        check_sizes("GRUD", input_size=input_size, hidden_size=hidden_size)
        if mean is not None and jnp.shape(mean) != (input_size,):
            raise bad_input(
                f"GRUD got a mean of shape {jnp.shape(mean)} for input_size={input_size}.",
                "one number for each input.",
                "average the observed entries of the data over time and examples.",
            )
        keys = jax.random.split(key, 4)
        self.W, self.U = gate_matrices(
            keys[0], (3, hidden_size, input_size), (3, hidden_size, hidden_size)
        )
        self.V = lecun_normal(keys[1], (3, hidden_size, input_size))
        self.b = jnp.zeros((3, hidden_size))
        rates = uniform(keys[2], (input_size,), 0.0, 1.0)
        self.input_decay = jnp.stack([rates, jnp.zeros(input_size)])
        self.D = uniform(keys[3], (hidden_size, input_size), 0.0, 1.0) / input_size
        self.e = jnp.zeros(hidden_size)
        self.mean = jnp.zeros(input_size) if mean is None else jnp.asarray(mean, self.b.dtype)

    @property
    def input_shape(self):
        shape = self.mean.shape[-1:]
        return Timed(Observed(shape, shape), ())

    def init_state(self):
        dtype = state_dtype(self.b)
        mean = jax.lax.stop_gradient(self.mean).astype(dtype)
        return GRUDState(jnp.zeros(self.e.shape[-1], dtype), mean, jnp.zeros_like(mean))

    def project(self, x):
        (x, is_observed), delta_t = x
        m = is_observed.astype(self.b.dtype)
        x = jnp.where(is_observed, x, 0)
        return x @ self.W.mT + m @ self.V.mT + self.b, x, m, delta_t

    def update(self, s, u):
        u, x, m, delta_t = u
        elapsed = delta_t + s.elapsed
        w, bias = self.input_decay
        decay = jnp.exp(-relu(w * elapsed + bias))
        mean = jax.lax.stop_gradient(self.mean)
        missing = (1 - m) * (decay * s.last + (1 - decay) * mean)
        h = jnp.exp(-relu(elapsed @ self.D.mT + self.e)) * s.h
        Wx = missing @ self.W.mT + u
        r, z = sigmoid(h @ self.U[:2].mT + Wx[:2])
        n = jnp.tanh((r * h) @ self.U[2].mT + Wx[2])
        last = x + (1 - m) * s.last
        return GRUDState((1 - z) * h + z * n, last, (1 - m) * elapsed)

    def readout(self, s, u):
        return s.h
