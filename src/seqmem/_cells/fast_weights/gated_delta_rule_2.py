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


class GatedDeltaRule2(AbstractFastWeightCell):
    """The delta rule with three gates: a decay and an erase gate per key channel, and a write gate
    per value channel.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = SiLU(W_v x_t)     of each head
        ln α_t = −exp(A_log) softplus(W_α V_α x_t + dt_bias)           of each key channel
        b_t = beta_max · σ(W_b x_t)                                    of each key channel
        w_t = σ(W_w x_t)                                               of each value channel
        S_t = S_{t−1} diag(α_t) (I − (b_t ∘ k_t) k_tᵀ) + (w_t ∘ v_t) k_tᵀ,    y_t = S_t q_t

    With all entries of b_t and w_t the same number β_t it is `seqmem.KDA`, and with one decay for
    all channels `seqmem.GatedDeltaRule`.

    Shapes: x (input,), q, k, α and b (heads, key), v and w (heads, value), A_log (heads,), S
    (heads, value, key), y (hidden,) with hidden = heads · value; the rank of W_α V_α is the value
    size. Cost per step: O(input · (hidden + heads · key)) for the projections, none of it
    sequential, and O(hidden · key) for the memory, sequential from chunk to chunk only.
    Source: Hatamizadeh, Choi & Kautz 2026, arXiv:2605.22791; its equations were not read in the
    paper but in the reference program of flash-linear-attention at commit bc3b101, ops/gdn2, and
    the parameters in its layer there. At the start softplus(dt_bias) is log-uniform on [0.001, 0.1]
    and exp(A_log) uniform on [1, 16]. Differs: the short convolutions before SiLU, and the output
    norm, gate and projection, are in `seqmem.blocks.gated_delta_net_2_block`.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        beta_max: largest entry of b, in (0, 2].
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, a size is below 1, or beta_max is
            out of range.
    """

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    W_b: Float[Array, "keys input"]
    W_w: Float[Array, "hidden input"]
    V_alpha: Float[Array, "rank input"]
    W_alpha: Float[Array, "keys rank"]
    dt_bias: Float[Array, " keys"]
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
        check_heads("GatedDeltaRule2", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("GatedDeltaRule2", input_size=input_size, key_size=key_size)
        check_beta_max("GatedDeltaRule2", beta_max)
        all_keys, rank = num_heads * key_size, hidden_size // num_heads
        keys = jax.random.split(key, 6)
        self.W_q, self.W_k, self.W_b = lecun_normal(keys[0], (3, all_keys, input_size))
        self.W_v, self.W_w = lecun_normal(keys[1], (2, hidden_size, input_size))
        self.V_alpha = lecun_normal(keys[2], (rank, input_size))
        self.W_alpha = lecun_normal(keys[3], (all_keys, rank))
        self.dt_bias = softplus_bias(keys[4], all_keys, 1e-3, 1e-1)
        self.A_log = log_of_uniform(keys[5], num_heads, 1.0, 16.0)
        self.num_heads = num_heads
        self.beta_max = beta_max

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        return empty_memory(self.num_heads, value_size, key_size, self.W_v)

    def project(self, x):
        q, k, v = (silu(x @ W.mT) for W in (self.W_q, self.W_k, self.W_v))
        b, w = self.beta_max * sigmoid(x @ self.W_b.mT), sigmoid(x @ self.W_w.mT)
        step = softplus(x @ self.V_alpha.mT @ self.W_alpha.mT + self.dt_bias)
        q, k, v, b, w, step = (per_head(leaf, self.num_heads) for leaf in (q, k, v, b, w, step))
        log_alpha = -jnp.exp(self.A_log)[:, None] * step
        return gated_delta_rule_2(unit(q), unit(k), v, b, w, log_alpha), None

    def output(self, reading, extra):
        return reading.ravel()


def gated_delta_rule_2(
    q: Float[Array, "*heads key"],
    k: Float[Array, "*heads key"],
    v: Float[Array, "*heads value"],
    b: Float[Array, "*heads key"],
    w: Float[Array, "*heads value"],
    log_alpha: Float[Array, "*heads key"],
) -> Write:
    """S_t = S_{t−1} diag(α_t) (I − (b_t ∘ k_t) k_tᵀ) + (w_t ∘ v_t) k_tᵀ."""
    return Write(q, k, w * v, log_alpha, remove=jnp.exp(log_alpha) * b * k)
