import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_positive, check_sizes
from ..initialisers import lecun_normal, log_of_uniform, softplus_bias
from .chunkwise.view import MemoryView
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head, unit
from .solvers import AbstractSolver, Chebyshev, check_solver, frobenius_norm
from .write import Write


class GatedKalmaNet(AbstractFastWeightCell):
    """Gated KalmaNet: ridge regression from keys to values at every step, with a regularisation
    that grows with the memory.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = SiLU(W_v x_t) of each head
        β_t = σ(W_β x_t + b_β),  α_t = σ(W_α x_t + b_α)                             of each head
        γ_t = exp(−exp(A_log) softplus(W_γ x_t + b_γ))                              of each head
        H_t = γ_t H_{t−1} + β_t² k_t k_tᵀ,    U_t = γ_t U_{t−1} + β_t² v_t k_tᵀ
        x*_t = (H_t + λ_t I)⁻¹ q_t,    λ_t = a ‖H_t‖                       ‖·‖ that of Frobenius
        y_t = U_t (α_t x*_t + (1 − α_t) q_t) / √d                          d the key size

    Each step of the solver reads the memory once more, in chunks for all steps of a chunk side by
    side. The eigenvalues of H_t + λ_t I are between λ_t and (1 + 1/a) λ_t, so that the error of
    Chebyshev iteration shrinks by the same factor at every step of time. The gradient is that of
    the exact solution, found by as many steps. Of an empty memory nothing is read, so that x* may
    be q; below 10⁻¹⁶ in float32, ‖H_t‖ counts as 0, since derivatives would overflow. A learned
    state needs a symmetric and positive H.

    Shapes: x (input,), q and k (heads, key), v (heads, value), S = [H; U] (heads, key + value,
    key), y (hidden,) with hidden = heads · value. Cost per step: O(input · (hidden + heads · key))
    for the projections, none of it sequential, and O(heads · key · (steps · key + value)) for the
    memory, sequential from chunk to chunk only.
    Source: Peng et al. 2025, arXiv:2511.21016, of which the abstract was read; the equations, the
    initial A_log and b_γ, and a = 0.02 are those of `GatedKalmaNet` in the authors'
    awslabs/hybrid-model-factory at commit 04b6242. Its convolution, norm, gate and projection are
    left out. softplus(b_γ) starts log-uniform on [0.001, 0.1]. Differs: exp(A_log) starts uniform
    on [1, 16], not [0, 16], and its program adds 10⁻⁶ to β and to the norms of q and k.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        ridge: a, the regularisation relative to the memory, > 0.
        solver: `seqmem.ConjugateGradients`, `seqmem.Chebyshev` or `seqmem.Exact`.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, a size is below 1, the ridge is
            not above 0, or the solver is of another type.
    """

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    W_gamma: Float[Array, "heads input"]
    b_gamma: Float[Array, " heads"]
    A_log: Float[Array, " heads"]
    W_beta: Float[Array, "heads input"]
    b_beta: Float[Array, " heads"]
    W_alpha: Float[Array, "heads input"]
    b_alpha: Float[Array, " heads"]
    num_heads: int = eqx.field(static=True)
    ridge: float = eqx.field(static=True)
    solver: AbstractSolver = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        ridge: float = 0.02,
        solver: AbstractSolver = Chebyshev(30),
        key: PRNGKeyArray,
    ):
        check_heads("GatedKalmaNet", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("GatedKalmaNet", input_size=input_size, key_size=key_size)
        check_ridge("GatedKalmaNet", ridge)
        check_solver("GatedKalmaNet", solver)
        keys = jax.random.split(key, 8)
        self.W_q = lecun_normal(keys[0], (num_heads * key_size, input_size))
        self.W_k = lecun_normal(keys[1], (num_heads * key_size, input_size))
        self.W_v = lecun_normal(keys[2], (hidden_size, input_size))
        self.W_gamma = lecun_normal(keys[3], (num_heads, input_size))
        self.b_gamma = softplus_bias(keys[4], num_heads, 1e-3, 1e-1)
        self.A_log = log_of_uniform(keys[5], num_heads, 1.0, 16.0)
        self.W_beta = lecun_normal(keys[6], (num_heads, input_size))
        self.b_beta = jnp.zeros(num_heads)
        self.W_alpha = lecun_normal(keys[7], (num_heads, input_size))
        self.b_alpha = jnp.zeros(num_heads)
        self.num_heads = num_heads
        self.ridge = ridge
        self.solver = solver

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        return empty_memory(self.num_heads, key_size + value_size, key_size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(silu(x @ W.mT), self.num_heads) for W in (self.W_q, self.W_k, self.W_v))
        log_gamma = -jnp.exp(self.A_log) * softplus(x @ self.W_gamma.mT + self.b_gamma)
        beta = sigmoid(x @ self.W_beta.mT + self.b_beta)
        alpha = sigmoid(x @ self.W_alpha.mT + self.b_alpha)
        return kalma(unit(q), unit(k), v, beta, log_gamma), alpha

    def read(self, memory, query):
        return kalma_readings(memory, query, self.ridge, self.solver)

    def output(self, reading, extra):
        return kalma_output(reading, extra).ravel()


def check_ridge(owner: str, ridge: float) -> None:
    """Refuse a regularisation that is not above 0."""
    check_positive(owner, "ridge", ridge, remedy="leave it out for 0.02, as in the paper.")


def kalma(
    q: Float[Array, "heads key"],
    k: Float[Array, "heads key"],
    v: Float[Array, "heads value"],
    beta: Float[Array, " heads"],
    log_gamma: Float[Array, " heads"],
) -> Write:
    """[H; U]_t = γ_t [H; U]_{t−1} + β_t² [k_t; v_t] k_tᵀ, read with q_t / √d."""
    beta = beta[:, None]
    value = beta * jnp.concatenate([k, v], -1)
    return Write(q * k.shape[-1] ** -0.5, beta * k, value, log_gamma[:, None])


def kalma_readings(
    memory: MemoryView,
    query: Float[Array, "heads step key"],
    ridge: float,
    solver: AbstractSolver,
) -> tuple[Float[Array, "heads step value"], Float[Array, "heads step value"]]:
    """U_t q_t, and U_t (H_t + a ‖H_t‖ I)⁻¹ q_t; I in place of the matrix where H_t is 0."""
    H, U = memory.split(query.shape[-1])
    norm = frobenius_norm(H)
    x = solver.solve(H, jnp.where(norm == 0, 1, ridge * norm), query)
    return U.read(query), U.read(x)


def kalma_output(
    readings: tuple[Float[Array, "heads value"], Float[Array, "heads value"]],
    alpha: Float[Array, " heads"],
) -> Float[Array, "heads value"]:
    """α_t U_t x*_t + (1 − α_t) U_t q_t."""
    plain, solved = readings
    return plain + alpha[:, None] * (solved - plain)
