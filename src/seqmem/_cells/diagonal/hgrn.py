from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..initialisers import lecun_normal
from .family import AbstractDiagonalCell

EPSILON = 1e-5  # beside the variance of the layer norm


class HGRN(AbstractDiagonalCell):
    """Hierarchically gated recurrence: a turning memory with a bound on how fast it forgets.

        Re c_t = SiLU(W_r x_t + b_r)            gate "real"
        Im c_t = SiLU(W_i x_t + b_i)            gate "imaginary"
        μ_t = σ(W_μ x_t + b_μ)                  gate "forget"
        λ_t = γ + (1 − γ) ∘ μ_t                 γ = σ(Γ), the least that is kept
        h_t = λ_t ∘ exp(iθ) ∘ h_{t−1} + (1 − λ_t) ∘ c_t
        g_t = σ(W_g x_t + b_g)                  gates "output real" and "output imaginary"
        y_t = V norm(g_t ∘ [Re h_t, Im h_t]) + d

    where norm(v) = (v − mean v) / √(var v + 10⁻⁵).

    Shapes: x and y (input,), c and h (hidden,) complex, μ, λ, γ and θ (hidden,), g (2 hidden,).
    Cost per step: O(input · hidden), of which O(hidden) is sequential.
    Source: Qin et al. 2023, arXiv:2311.04823, the HGRU. Differs: γ is learned by each cell for
    itself; the paper ties the layers, γ^k = Σ_{j<k} softmax(Γ)_j, so that bounds grow with depth:
    start layer k of H with lower_bound = (k − 1)/H, and the first with a small one. The norm has no
    scale and no shift, which V and d make redundant. As in the authors' hgru-pytorch, θ_j =
    10000^(−2j/hidden) at the start; σ for the output gate is that of its Hgru1dV3, where Hgru1d has
    SiLU, and norms before it gates.

    Args:
        input_size: entries of one input and of one output, > 0.
        hidden_size: entries of the state, > 0.
        lower_bound: γ at the start, in (0, 1).
        key: for the initial parameters.

    Raises:
        ValueError: where the lower bound is not in (0, 1).

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.HGRN(3, 5, lower_bound=0.5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), jax.numpy.ones((7, 3)))
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
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        lower_bound: float = 0.5,
        key: PRNGKeyArray,
    ):
        if not 0 < lower_bound < 1:
            raise bad_input(
                f"HGRN got lower_bound={lower_bound}.",
                "a number in (0, 1): the least share of the memory that a step keeps.",
                "give a small one, e.g. 0.01, for a memory that may forget at once.",
            )
        gate_key, output_key = jax.random.split(key)
        self.W = lecun_normal(gate_key, (5, hidden_size, input_size))
        self.b = jnp.zeros((5, hidden_size))
        self.Gamma = jax.scipy.special.logit(jnp.full(hidden_size, lower_bound))
        self.theta = 10000 ** (-2 * jnp.arange(hidden_size) / hidden_size)
        self.V = lecun_normal(output_key, (input_size, 2 * hidden_size))
        self.d = jnp.zeros(input_size)
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size

    def init_state(self):
        wide = state_dtype(self.b) == jnp.float64
        return jnp.zeros(self.hidden_size, jnp.complex128 if wide else jnp.complex64)

    def project(self, x):
        return x @ self.W.mT + self.b

    def update(self, h, u):
        real, imaginary, mu, _, _ = u
        forgotten = sigmoid(-self.Gamma) * sigmoid(-mu)  # 1 − λ
        kept = 1 - forgotten
        turned = jax.lax.complex(kept * jnp.cos(self.theta), kept * jnp.sin(self.theta))
        new = jax.lax.complex(forgotten * silu(real), forgotten * silu(imaginary))
        return turned * h + new

    def readout(self, h, u):
        *_, real, imaginary = u
        shown = jnp.concatenate([sigmoid(real) * h.real, sigmoid(imaginary) * h.imag])
        shown = shown - shown.mean()
        return (shown / jnp.sqrt((shown**2).mean() + EPSILON)) @ self.V.mT + self.d
