import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..initialisers import lecun_normal, log_of_uniform, softplus_bias
from .family import AbstractFastWeightCell
from .gated_delta_rule import gated_delta_rule
from .heads import check_heads, empty_memory, per_head, unit


class KDA(AbstractFastWeightCell):
    """Kimi delta attention: the delta rule in a memory whose key channels fade each at a rate of
    its own.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = SiLU(W_v x_t)     of each head
        ln α_t = −exp(A_log) softplus(W_α V_α x_t + b)                 [key channels]
        β_t = σ(W_β x_t)
        S_t = S_{t−1} diag(α_t) (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ,    y_t = S_t q_t

    Shapes: x (input,), S (heads, size/heads, size/heads), α like k, β and A_log (heads,), y
    (size,). Cost per step: O(input · size) and O(size² / heads), of which the latter is done in
    blocks.
    Source: Kimi Team 2025, arXiv:2510.26692, equation 1 and, for its parameters, section 4; the
    form of α and its start as in their layer of flash-linear-attention. Differs: short convolutions
    before SiLU, the norm, gate and projection behind, stand in a block around the cell.

    Args:
        input_size: entries of one input, > 0.
        size: entries of the output, shared evenly by the heads.
        heads: > 0.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the size.
    """

    W_q: Float[Array, "size input"]
    W_k: Float[Array, "size input"]
    W_v: Float[Array, "size input"]
    W_beta: Float[Array, "heads input"]
    V_alpha: Float[Array, "rank input"]
    W_alpha: Float[Array, "size rank"]
    b: Float[Array, " size"]
    A_log: Float[Array, " heads"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    heads: int = eqx.field(static=True)

    def __init__(self, input_size: int, size: int, heads: int, *, key: PRNGKeyArray):
        check_heads("KDA", size, heads)
        keys = jax.random.split(key, 6)
        rank = size // heads
        self.W_q, self.W_k, self.W_v = lecun_normal(keys[0], (3, size, input_size))
        self.W_beta = lecun_normal(keys[1], (heads, input_size))
        self.V_alpha = lecun_normal(keys[2], (rank, input_size))
        self.W_alpha = lecun_normal(keys[3], (size, rank))
        self.b = softplus_bias(keys[4], size, 1e-3, 1e-1)
        self.A_log = log_of_uniform(keys[5], heads, 1.0, 16.0)
        self.input_shape = (input_size,)
        self.heads = heads

    def init_state(self):
        size = self.W_v.shape[0] // self.heads
        return empty_memory(self.heads, size, size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(silu(x @ W.mT), self.heads) for W in (self.W_q, self.W_k, self.W_v))
        beta = sigmoid(x @ self.W_beta.mT)[:, None]
        step = softplus(x @ self.V_alpha.mT @ self.W_alpha.mT + self.b)
        log_alpha = -jnp.exp(self.A_log)[:, None] * per_head(step, self.heads)
        return gated_delta_rule(unit(q), unit(k), v, beta, log_alpha), None

    def output(self, reading, extra):
        return reading.ravel()
