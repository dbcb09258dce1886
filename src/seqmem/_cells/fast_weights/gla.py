import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head
from .write import Write

TEMPERATURE = 16  # of the forget gate, so that it starts near 1


class GLA(AbstractFastWeightCell):
    """Gated linear attention: every key channel has its own decay, computed from the input.

        q_t = W_q x_t,  k_t = W_k x_t,  v_t = W_v x_t                  of each head
        α_t = σ(W_α V_α x_t + b)^(1/16)                                of each key channel
        S_t = S_{t−1} diag(α_t) + v_t k_tᵀ,    y_t = S_t q_t

    Shapes: x (input,), q, k and α (heads, key), v (heads, value), S (heads, value, key), y
    (hidden,) with hidden = heads · value. Cost per step: O(input · (hidden + heads · key)) for the
    projections, none of it sequential, and O(hidden · key) for the memory, sequential from chunk to
    chunk only.
    Source: Yang et al. 2023, arXiv:2312.06635, equation 3 and section 4.4. Differs: the output
    gate, norm and projection of that section are in `seqmem.blocks.gla_block`.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: half of its value's, as in the paper.
        rank: rank of the matrix W_α V_α, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.
    """

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    V_a: Float[Array, "rank input"]
    W_a: Float[Array, "keys rank"]
    b: Float[Array, " keys"]
    num_heads: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        rank: int = 16,
        key: PRNGKeyArray,
    ):
        check_heads("GLA", hidden_size, num_heads)
        key_size = hidden_size // num_heads // 2 if key_size is None else key_size
        check_sizes("GLA", input_size=input_size, key_size=key_size, rank=rank)
        all_keys = num_heads * key_size
        keys = jax.random.split(key, 5)
        self.W_q = lecun_normal(keys[0], (all_keys, input_size))
        self.W_k = lecun_normal(keys[1], (all_keys, input_size))
        self.W_v = lecun_normal(keys[2], (hidden_size, input_size))
        self.V_a = lecun_normal(keys[3], (rank, input_size))
        self.W_a = lecun_normal(keys[4], (all_keys, rank))
        self.b = jnp.zeros(all_keys)
        self.num_heads = num_heads

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        return empty_memory(self.num_heads, value_size, key_size, self.W_v)

    def project(self, x):
        gate = x @ self.V_a.mT @ self.W_a.mT + self.b
        log_decay = log_sigmoid(gate) / TEMPERATURE
        drive = x @ self.W_q.mT, x @ self.W_k.mT, x @ self.W_v.mT, log_decay
        q, k, v, log_alpha = (per_head(leaf, self.num_heads) for leaf in drive)
        return Write(q, k, v, log_alpha), None

    def output(self, reading, extra):
        return reading.ravel()
