import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head
from .write import Write


class RetNet(AbstractFastWeightCell):
    """Retention: linear attention without a normaliser, with a fixed decay per head.

        q_t = W_q x_t,  k_t = W_k x_t / √d,  v_t = W_v x_t             of each head, d its key size
        S_t = γ S_{t−1} + v_t k_tᵀ,    γ_h = 1 − 2^(−5−h),  h = 0, ..., heads − 1
        y_t = S_t q_t

    Shapes: x (input,), q and k (heads, key), v (heads, value), S (heads, value, key), y (hidden,)
    with hidden = heads · value. Cost per step: O(input · hidden) for the projections, none of it
    sequential, and O(hidden · key) for the memory, sequential from chunk to chunk only.
    Source: Sun et al. 2023, arXiv:2307.08621, equations 6 and 8. Differs: queries and keys are not
    rotated, since that needs a position; of the three normalisations in section 2.2, which the
    group norm cancels, only √d is applied; the group norm and the gate of equation 8 are left to
    the network around the cell.

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
        check_heads("RetNet", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("RetNet", input_size=input_size, key_size=key_size)
        qk_key, v_key = jax.random.split(key)
        self.W_q, self.W_k = lecun_normal(qk_key, (2, num_heads * key_size, input_size))
        self.W_v = lecun_normal(v_key, (hidden_size, input_size))
        self.num_heads = num_heads

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        return empty_memory(self.num_heads, value_size, key_size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(x @ W.mT, self.num_heads) for W in (self.W_q, self.W_k, self.W_v))
        log_gamma = np.log1p(-(2.0 ** (-5 - np.arange(self.num_heads))))
        log_decay = jnp.asarray(log_gamma[:, None], q.dtype)
        return Write(q, k / math.sqrt(k.shape[-1]), v, log_decay), None

    def output(self, reading, extra):
        return reading.ravel()
