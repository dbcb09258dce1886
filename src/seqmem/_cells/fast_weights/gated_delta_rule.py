import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..initialisers import lecun_normal, log_of_uniform, softplus_bias
from .delta_rule import check_beta_max
from .family import AbstractFastWeightCell
from .heads import check_heads, empty_memory, per_head, unit
from .write import Write


class GatedDeltaRule(AbstractFastWeightCell):
    """The delta rule in a memory that fades as the input says.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = SiLU(W_v x_t)     of each head
        ln α_t = −exp(A_log) softplus(W_α x_t + b),    β_t = beta_max · σ(W_β x_t)
        S_t = S_{t−1} α_t (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ,    y_t = S_t q_t

    Shapes: x (input,), S (heads, size/heads, size/heads), α and β (heads,), y (size,). Cost per
    step: O(input · size) and O(size² / heads), of which the latter is done in blocks.
    Source: Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464, equation 10 of its third version; α as
    in Mamba-2 and in their code, NVlabs/GatedDeltaNet. Differs: exp(A_log) starts uniform on
    [1, 16], as in Mamba-2, and not on [0, 16]; short convolutions before SiLU, the norm, gate and
    projection behind, stand in the block, `seqmem.blocks.gated_delta_net_block`.

    Args:
        input_size: entries of one input, > 0.
        size: entries of the output, shared evenly by the heads.
        heads: > 0.
        beta_max: the largest β, in (0, 2].
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the size, or the beta_max is out of range.
    """

    W_q: Float[Array, "size input"]
    W_k: Float[Array, "size input"]
    W_v: Float[Array, "size input"]
    W_beta: Float[Array, "heads input"]
    W_alpha: Float[Array, "heads input"]
    b: Float[Array, " heads"]
    A_log: Float[Array, " heads"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    heads: int = eqx.field(static=True)
    beta_max: float = eqx.field(static=True)

    def __init__(
        self, input_size: int, size: int, heads: int, *, beta_max: float = 1.0, key: PRNGKeyArray
    ):
        check_heads("GatedDeltaRule", size, heads)
        check_beta_max("GatedDeltaRule", beta_max)
        keys = jax.random.split(key, 4)
        self.W_q, self.W_k, self.W_v = lecun_normal(keys[0], (3, size, input_size))
        self.W_beta, self.W_alpha = lecun_normal(keys[1], (2, heads, input_size))
        self.b = softplus_bias(keys[2], heads, 1e-3, 1e-1)
        self.A_log = log_of_uniform(keys[3], heads, 1.0, 16.0)
        self.input_shape = (input_size,)
        self.heads = heads
        self.beta_max = beta_max

    def init_state(self):
        size = self.W_v.shape[0] // self.heads
        return empty_memory(self.heads, size, size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(silu(x @ W.mT), self.heads) for W in (self.W_q, self.W_k, self.W_v))
        beta = self.beta_max * sigmoid(x @ self.W_beta.mT)[:, None]
        log_alpha = -jnp.exp(self.A_log) * softplus(x @ self.W_alpha.mT + self.b)
        return gated_delta_rule(unit(q), unit(k), v, beta, log_alpha[:, None]), None

    def output(self, reading, extra):
        return reading.ravel()


def gated_delta_rule(
    q: Float[Array, "*heads key"],
    k: Float[Array, "*heads key"],
    v: Float[Array, "*heads value"],
    beta: Float[Array, "*heads 1"],
    log_alpha: Float[Array, "*heads key_or_1"],
) -> Write:
    """S_t = S_{t−1} diag(α_t) (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ."""
    return Write(q, k, beta * v, log_alpha, remove=beta * jnp.exp(log_alpha) * k)
