from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head
from .write import Write


def elu_plus_one(x: Array) -> Array:
    return jax.nn.elu(x) + 1


class LinearAttention(AbstractFastWeightCell):
    """Attention without softmax: products of features, so that its past is one matrix per head.

        q_t = φ(W_q x_t),  k_t = φ(W_k x_t),  v_t = W_v x_t            of each head
        S_t = S_{t−1} + v_t k_tᵀ,    z_t = z_{t−1} + k_t
        y_t = S_t q_t / z_tᵀ q_t

    z is one more row of S, written with the value 1. Where z_tᵀ q_t is 0, y_t is S_t q_t.

    Shapes: x (input,), q and k (heads, feature), v (heads, value), S (heads, value + 1, feature), y
    (hidden,) with hidden = heads · value. Cost per step: O(input · hidden) for the projections,
    none of it sequential, and O(hidden · feature) for the memory, sequential from chunk to chunk
    only.
    Source: Katharopoulos et al. 2020, arXiv:2006.16236, equations 18 to 20; φ = elu + 1 is its
    equation 7. Differs: the residual connection and the layer f of equation 20 are left to the
    network around the cell.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the query and key of one head before φ, > 0; None: as of its value.
        feature_map: φ, from the query or key of one head to its features.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.
    """

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    num_heads: int = eqx.field(static=True)
    feature_map: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        feature_map: Callable[[Array], Array] = elu_plus_one,
        key: PRNGKeyArray,
    ):
        check_heads("LinearAttention", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("LinearAttention", input_size=input_size, key_size=key_size)
        qk_key, v_key = jax.random.split(key)
        self.W_q, self.W_k = lecun_normal(qk_key, (2, num_heads * key_size, input_size))
        self.W_v = lecun_normal(v_key, (hidden_size, input_size))
        self.num_heads = num_heads
        self.feature_map = feature_map

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        one_key = jax.ShapeDtypeStruct((key_size,), self.W_k.dtype)
        num_features = jax.eval_shape(self.feature_map, one_key).shape[0]
        return empty_memory(self.num_heads, value_size + 1, num_features, self.W_v)

    def project(self, x):
        q, k, v = (per_head(x @ W.mT, self.num_heads) for W in (self.W_q, self.W_k, self.W_v))
        value = jnp.concatenate([v, jnp.ones_like(v[:, :1])], -1)
        return Write(self.feature_map(q), self.feature_map(k), value), None

    def output(self, reading, extra):
        z = reading[:, -1:]
        return (reading[:, :-1] / jnp.where(z == 0, 1, z)).ravel()
