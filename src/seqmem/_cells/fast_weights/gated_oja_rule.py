import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal, log_of_uniform, softplus_bias
from .family import AbstractFastWeightCell
from .gated_delta_rule import gated_delta_rule
from .heads import empty_memory, per_head, unit
from .write import Transposed


class GatedOjaRule(AbstractFastWeightCell):
    """Oja's rule with a decay per value channel: a write replaces the key stored under its value.

        q_t = SiLU(W_q x_t) / √d,  k_t = SiLU(W_k x_t),  v_t = unit(SiLU(W_v x_t))      of each head
        ln α_t = −exp(A_log) softplus(W_α V_α x_t + b)                 of each value channel
        β_t = σ(W_β x_t)                                               of each head
        M_t = (I − β_t v_t v_tᵀ) diag(α_t) M_{t−1} + β_t v_t k_tᵀ,    y_t = M_t q_t

    d is the key size. It is the delta rule of `seqmem.KDA` with the parts of k and v exchanged, for
    the transposed memory: the state is S = Mᵀ.

    Shapes: x (input,), q and k (heads, key), v and α (heads, value), β and A_log (heads,), S
    (heads, key, value), y (hidden,) with hidden = heads · value; the rank of W_α V_α is the value
    size. Cost per step: O(input · hidden) for the projections, none of it sequential, and O(hidden
    · key) for the memory, sequential from chunk to chunk only.
    Source: Hu 2026, "Operator Derivation for Gated OJA Rule", section 1.3; it is OJA.pdf of the
    operator in flash-linear-attention (commit bc3b101). The rule without a decay is Oja 1982, which
    was not read. Differs: the source gives the operator alone. The factor 1/√d is that of its
    program, and v is a unit as in its tests; the projections, α and β are those of `seqmem.KDA`,
    and start as there.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.
    """

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    W_beta: Float[Array, "heads input"]
    V_alpha: Float[Array, "rank input"]
    W_alpha: Float[Array, "hidden rank"]
    b: Float[Array, " hidden"]
    A_log: Float[Array, " heads"]
    num_heads: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        key: PRNGKeyArray,
    ):
        check_heads("GatedOjaRule", hidden_size, num_heads)
        value_size = hidden_size // num_heads
        key_size = value_size if key_size is None else key_size
        check_sizes("GatedOjaRule", input_size=input_size, key_size=key_size)
        keys = jax.random.split(key, 7)
        self.W_q, self.W_k = lecun_normal(keys[0], (2, num_heads * key_size, input_size))
        self.W_v = lecun_normal(keys[1], (hidden_size, input_size))
        self.W_beta = lecun_normal(keys[2], (num_heads, input_size))
        self.V_alpha = lecun_normal(keys[3], (value_size, input_size))
        self.W_alpha = lecun_normal(keys[4], (hidden_size, value_size))
        self.b = softplus_bias(keys[5], hidden_size, 1e-3, 1e-1)
        self.A_log = log_of_uniform(keys[6], num_heads, 1.0, 16.0)
        self.num_heads = num_heads

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        return empty_memory(self.num_heads, key_size, value_size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(silu(x @ W.mT), self.num_heads) for W in (self.W_q, self.W_k, self.W_v))
        beta = sigmoid(x @ self.W_beta.mT)[:, None]
        step = softplus(x @ self.V_alpha.mT @ self.W_alpha.mT + self.b)
        log_alpha = -jnp.exp(self.A_log)[:, None] * per_head(step, self.num_heads)
        write = gated_delta_rule(q / math.sqrt(q.shape[-1]), unit(v), k, beta, log_alpha)
        return write._replace(reading=Transposed()), None

    def output(self, reading, extra):
        return reading.ravel()
