import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid, silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal
from .chunkwise.view import MemoryView
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head, unit
from .solvers import AbstractSolver, ConjugateGradients, check_solver
from .write import Write

LEAST_RIDGE = 0.25


class MesaNet(AbstractFastWeightCell):
    """The Mesa layer: it answers a query by the linear map from keys to values that is best for all
    steps so far, which a solver finds at every step.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = W_v x_t       of each head
        γ_t = σ(W_γ x_t + b_γ),  β_t = σ(W_β x_t + b_β)                             of each head
        H_t = γ_t H_{t−1} + β_t k_t k_tᵀ,    G_t = γ_t G_{t−1} + β_t v_t k_tᵀ
        y_t = G_t (H_t + Λ)⁻¹ q_t,    Λ = diag(¼ + softplus(λ))

    So y_t = Φ q_t for the Φ that makes Σ_i w_i ‖v_i − Φ k_i‖² + tr(Φ Λ Φᵀ) least, w_i = β_i γ_{i+1}
    … γ_t. Each step of the solver reads the memory once more, in chunks for all steps of a chunk
    side by side. A solver of few steps gives other outputs than the exact solution. The gradient is
    that of the exact solution, found by as many steps. A learned state needs a symmetric and
    positive H.

    Shapes: x (input,), q, k and the diagonal of Λ (heads, key), v (heads, value), S = [H; G]
    (heads, key + value, key), y (hidden,) with hidden = heads · value. Cost per step: O(input ·
    (hidden + heads · key)) for the projections, none of it sequential, and O(heads · key · (steps ·
    key + value)) for the memory, sequential from chunk to chunk only.
    Source: von Oswald et al. 2025, arXiv:2506.05233, of which the abstract was read; the equations
    and the initial Λ, 1, are those of `MesaNet` in flash-linear-attention at commit bc3b101. Its
    convolution, norm and projection are in `seqmem.blocks.mesa_net_block`. Differs: b_γ starts at
    4, so that γ is near 1; its program adds 10⁻⁵ to what conjugate gradients divide by.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        solver: `seqmem.ConjugateGradients`, `seqmem.Chebyshev` or `seqmem.Exact`.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, a size is below 1, or the solver
            is of another type.
    """

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    W_gamma: Float[Array, "heads input"]
    b_gamma: Float[Array, " heads"]
    W_beta: Float[Array, "heads input"]
    b_beta: Float[Array, " heads"]
    ridge: Float[Array, "heads key"]
    num_heads: int = eqx.field(static=True)
    solver: AbstractSolver = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        solver: AbstractSolver = ConjugateGradients(30),
        key: PRNGKeyArray,
    ):
        check_heads("MesaNet", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("MesaNet", input_size=input_size, key_size=key_size)
        check_solver("MesaNet", solver)
        keys = jax.random.split(key, 5)
        self.W_q = lecun_normal(keys[0], (num_heads * key_size, input_size))
        self.W_k = lecun_normal(keys[1], (num_heads * key_size, input_size))
        self.W_v = lecun_normal(keys[2], (hidden_size, input_size))
        self.W_gamma = lecun_normal(keys[3], (num_heads, input_size))
        self.b_gamma = jnp.full(num_heads, 4.0)
        self.W_beta = lecun_normal(keys[4], (num_heads, input_size))
        self.b_beta = jnp.zeros(num_heads)
        self.ridge = jnp.full((num_heads, key_size), jnp.log(jnp.expm1(1 - LEAST_RIDGE)))
        self.num_heads = num_heads
        self.solver = solver

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        key_size, value_size = self.ridge.shape[-1], len(self.W_v) // self.num_heads
        return empty_memory(self.num_heads, key_size + value_size, key_size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(x @ W.mT, self.num_heads) for W in (self.W_q, self.W_k, self.W_v))
        log_gamma = log_sigmoid(x @ self.W_gamma.mT + self.b_gamma)
        beta = sigmoid(x @ self.W_beta.mT + self.b_beta)
        return mesa(unit(silu(q)), unit(silu(k)), v, beta, log_gamma), None

    def read(self, memory, query):
        return mesa_reading(memory, query, self.ridge, self.solver)

    def output(self, reading, extra):
        return reading.ravel()


def mesa(
    q: Float[Array, "heads key"],
    k: Float[Array, "heads key"],
    v: Float[Array, "heads value"],
    beta: Float[Array, " heads"],
    log_gamma: Float[Array, " heads"],
) -> Write:
    """[H; G]_t = γ_t [H; G]_{t−1} + β_t [k_t; v_t] k_tᵀ, read with q_t."""
    return Write(q, beta[:, None] * k, jnp.concatenate([k, v], -1), log_gamma[:, None])


def mesa_reading(
    memory: MemoryView,
    query: Float[Array, "heads step key"],
    ridge: Float[Array, "heads key"],
    solver: AbstractSolver,
) -> Float[Array, "heads step value"]:
    """G_t (H_t + diag(¼ + softplus(ridge)))⁻¹ q_t."""
    H, G = memory.split(query.shape[-1])
    return G.read(solver.solve(H, LEAST_RIDGE + softplus(ridge)[:, None], query))
