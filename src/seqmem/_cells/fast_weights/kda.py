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
from .gated_delta_rule import gated_delta_rule
from .heads import empty_memory, per_head, unit


class KDA(AbstractFastWeightCell):
    """Kimi delta attention: the delta rule with a decay per key channel, computed from the input.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = SiLU(W_v x_t)     of each head
        ln α_t = −exp(A_log) softplus(W_α V_α x_t + b)                 of each key channel
        β_t = beta_max · σ(W_β x_t)
        S_t = S_{t−1} diag(α_t) (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ,    y_t = S_t q_t

    Shapes: x (input,), q, k and α (heads, key), v (heads, value), β and A_log (heads,), S (heads,
    value, key), y (hidden,) with hidden = heads · value; the rank of W_α V_α is the key size. Cost
    per step: O(input · hidden) for the projections, none of it sequential, and O(hidden · key) for
    the memory, sequential from chunk to chunk only.
    Source: Kimi Team 2025, arXiv:2510.26692, equation 1 and, for its parameters, section 4; the
    form of α and its start as in their layer of flash-linear-attention: softplus(b) log-uniform on
    [0.001, 0.1], and exp(A_log) uniform on [1, 16]. Differs: the short convolutions before SiLU and
    the output norm, gate and projection are left to the network around the cell. beta_max = 2 is
    from Grazzi et al. 2024, arXiv:2411.12537.

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
    V_alpha: Float[Array, "rank input"]
    W_alpha: Float[Array, "keys rank"]
    b: Float[Array, " keys"]
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
        check_heads("KDA", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("KDA", input_size=input_size, key_size=key_size)
        check_beta_max("KDA", beta_max)
        all_keys = num_heads * key_size
        keys = jax.random.split(key, 7)
        self.W_q, self.W_k = lecun_normal(keys[0], (2, all_keys, input_size))
        self.W_v = lecun_normal(keys[1], (hidden_size, input_size))
        self.W_beta = lecun_normal(keys[2], (num_heads, input_size))
        self.V_alpha = lecun_normal(keys[3], (key_size, input_size))
        self.W_alpha = lecun_normal(keys[4], (all_keys, key_size))
        self.b = softplus_bias(keys[5], all_keys, 1e-3, 1e-1)
        self.A_log = log_of_uniform(keys[6], num_heads, 1.0, 16.0)
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
        step = softplus(x @ self.V_alpha.mT @ self.W_alpha.mT + self.b)
        log_alpha = -jnp.exp(self.A_log)[:, None] * per_head(step, self.num_heads)
        return gated_delta_rule(unit(q), unit(k), v, beta, log_alpha), None

    def output(self, reading, extra):
        return reading.ravel()
