from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal, log_of_uniform, softplus_bias
from .delta_rule import check_beta_max
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head, unit
from .write import Write


class GatedDeltaRule(AbstractFastWeightCell):
    """The delta rule with a decay per head, computed from the input.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = SiLU(W_v x_t)     of each head
        ln α_t = −exp(A_log) softplus(W_α x_t + b),    β_t = beta_max · σ(W_β x_t)
        S_t = S_{t−1} α_t (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ,    y_t = S_t q_t

    Shapes: x (input,), q and k (heads, key), v (heads, value), α and β (heads,), S (heads, value,
    key), y (hidden,) with hidden = heads · value. Cost per step: O(input · hidden) for the
    projections, none of it sequential, and O(hidden · key) for the memory, sequential from chunk to
    chunk only.
    Source: Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464, equation 10 of its third version; α as
    in Mamba-2 and in their code, NVlabs/GatedDeltaNet. Differs: exp(A_log) starts uniform on [1,
    16], as in Mamba-2, instead of [0, 16], and softplus(b) log-uniform on [0.001, 0.1]; the short
    convolutions before SiLU and the output norm, gate and projection are in
    `seqmem.blocks.gated_delta_net_block`.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        beta_max: largest β, in (0, 2].
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, a size is below 1, or beta_max is
            out of range.
    """

    is_delta_rule: ClassVar = True

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    W_beta: Float[Array, "heads input"]
    W_alpha: Float[Array, "heads input"]
    b: Float[Array, " heads"]
    A_log: Float[Array, " heads"]
    num_heads: int = eqx.field(static=True)
    beta_max: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        beta_max: float = 1.0,
        key: PRNGKeyArray,
    ):
        check_heads("GatedDeltaRule", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("GatedDeltaRule", input_size=input_size, key_size=key_size)
        check_beta_max("GatedDeltaRule", beta_max)
        keys = jax.random.split(key, 5)
        self.W_q, self.W_k = lecun_normal(keys[0], (2, num_heads * key_size, input_size))
        self.W_v = lecun_normal(keys[1], (hidden_size, input_size))
        self.W_beta, self.W_alpha = lecun_normal(keys[2], (2, num_heads, input_size))
        self.b = softplus_bias(keys[3], num_heads, 1e-3, 1e-1)
        self.A_log = log_of_uniform(keys[4], num_heads, 1.0, 16.0)
        self.num_heads = num_heads
        self.beta_max = beta_max

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        return empty_memory(self.num_heads, value_size, key_size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(silu(x @ W.mT), self.num_heads) for W in (self.W_q, self.W_k, self.W_v))
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
