from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal
from ..normalisation import layer_norm
from .family import AbstractDiagonalCell

EPSILON = 1e-5  # of the layer norm


class HGRN(AbstractDiagonalCell):
    """Hierarchically gated recurrent network: a complex diagonal recurrence (rotation and decay)
    with a lower bound on the forget gate.

        Re c_t = SiLU(W_r x_t + b_r)            gate "real"
        Im c_t = SiLU(W_i x_t + b_i)            gate "imaginary"
        μ_t = σ(W_μ x_t + b_μ)                  gate "forget"
        λ_t = γ + (1 − γ) ∘ μ_t                 γ = σ(Γ), the lower bound
        h_t = λ_t ∘ exp(iθ) ∘ h_{t−1} + (1 − λ_t) ∘ c_t
        g_t = σ(W_g x_t + b_g)                  gates "output real" and "output imaginary"
        y_t = V norm(g_t ∘ [Re h_t, Im h_t]) + d

    where norm(v) = (v − mean v) / √(var v + 10⁻⁵).

    Shapes: x and y (input,), c and h (hidden,) complex, μ, λ, γ and θ (hidden,), g (2 hidden,).
    Cost per step: O(input · hidden), of which O(hidden) is sequential.
    Source: Qin et al. 2023, arXiv:2311.04823, the HGRU. Differs: each cell learns its own γ; the
    paper ties the layers by γ^k = Σ_{j<k} softmax(Γ)_j, so that the bounds grow with depth: give
    layer k of H lower_bound = (k − 1)/H, and the first layer a small one. The norm has no gain and
    no bias, which V and d make redundant. As in the authors' hgru-pytorch, θ_j =
    10000^(−2j/hidden) at the start; the output gate is σ, before the norm, as in its Hgru1dV3
    (its Hgru1d has SiLU, after the norm).

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the state, > 0.
        lower_bound: γ at the start, in (0, 1).
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or a lower bound that is
            not in (0, 1).

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.HGRN(3, 5, lower_bound=0.5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
        >>> state.shape, state.dtype, ys.shape
        ((5,), dtype('complex64'), (7, 3))
    """

    gates: ClassVar = ("real", "imaginary", "forget", "output real", "output imaginary")

    W: Float[Array, "5 hidden input"]
    b: Float[Array, "5 hidden"]
    Gamma: Float[Array, " hidden"]
    theta: Float[Array, " hidden"]
    V: Float[Array, "input two_hidden"]
    d: Float[Array, " input"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        lower_bound: float = 0.5,
        key: PRNGKeyArray,
    ):
        check_sizes("HGRN", input_size=input_size, hidden_size=hidden_size)
        if not 0 < lower_bound < 1:
            raise bad_input(
                f"HGRN got lower_bound={lower_bound}.",
                "a number in (0, 1): the smallest value of the forget gate.",
                "choose a small one, such as 0.01, for a memory that may forget at once.",
            )
        gate_key, output_key = jax.random.split(key)
        self.W = lecun_normal(gate_key, (5, hidden_size, input_size))
        self.b = jnp.zeros((5, hidden_size))
        self.Gamma = jax.scipy.special.logit(jnp.full(hidden_size, lower_bound))
        self.theta = 10000 ** (-2 * jnp.arange(hidden_size) / hidden_size)
        self.V = lecun_normal(output_key, (input_size, 2 * hidden_size))
        self.d = jnp.zeros(input_size)

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        zeros = jnp.zeros(self.b.shape[-1], state_dtype(self.b))
        return jax.lax.complex(zeros, zeros)

    def project(self, x):
        return x @ self.W.mT + self.b

    def update(self, h, u):
        real, imaginary, mu, _, _ = u
        gain = sigmoid(-self.Gamma) * sigmoid(-mu)  # 1 − λ
        decay = 1 - gain
        rotation = jax.lax.complex(decay * jnp.cos(self.theta), decay * jnp.sin(self.theta))
        return rotation * h + jax.lax.complex(gain * silu(real), gain * silu(imaginary))

    def readout(self, h, u):
        *_, real, imaginary = u
        gated = jnp.concatenate([sigmoid(real) * h.real, sigmoid(imaginary) * h.imag])
        return layer_norm(gated, EPSILON) @ self.V.mT + self.d
