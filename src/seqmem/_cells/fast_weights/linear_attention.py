from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import check_heads, empty_memory, per_head
from .write import Write


def elu_plus_one(x: Array) -> Array:
    return jax.nn.elu(x) + 1


class LinearAttention(AbstractFastWeightCell):
    """Attention whose softmax is a product of features, so that its past is one matrix.

        q_t = φ(W_q x_t),  k_t = φ(W_k x_t),  v_t = W_v x_t            of each head
        S_t = S_{t−1} + v_t k_tᵀ,    z_t = z_{t−1} + k_t
        y_t = S_t q_t / z_tᵀ q_t

    z is held as one more row of S, written with the value 1. Where nothing was written, y is 0.

    Shapes: x (input,), S (heads, size/heads + 1, features), y (size,). Cost per step: O(input ·
    size) and O(size · features), of which the latter is done in blocks.
    Source: Katharopoulos et al. 2020, arXiv:2006.16236, equations 18 to 20; φ = elu + 1 is its
    equation 7. Differs: the residual and the layer f of equation 20 stand around the cell.

    Args:
        input_size: entries of one input, > 0.
        size: entries of the output, shared evenly by the heads.
        heads: > 0.
        feature_map: φ, from the keys and queries of a head to their features.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the size.
    """

    W_q: Float[Array, "size input"]
    W_k: Float[Array, "size input"]
    W_v: Float[Array, "size input"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    heads: int = eqx.field(static=True)
    feature_map: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        size: int,
        heads: int,
        *,
        feature_map: Callable[[Array], Array] = elu_plus_one,
        key: PRNGKeyArray,
    ):
        check_heads("LinearAttention", size, heads)
        self.W_q, self.W_k, self.W_v = lecun_normal(key, (3, size, input_size))
        self.input_shape = (input_size,)
        self.heads = heads
        self.feature_map = feature_map

    def init_state(self):
        size = self.W_v.shape[0] // self.heads
        head = jax.ShapeDtypeStruct((size,), self.W_k.dtype)
        features = jax.eval_shape(self.feature_map, head).shape[0]
        return empty_memory(self.heads, size + 1, features, self.W_v)

    def project(self, x):
        q, k, v = (per_head(x @ W.mT, self.heads) for W in (self.W_q, self.W_k, self.W_v))
        value = jnp.concatenate([v, jnp.ones_like(v[:, :1])], -1)
        return Write(self.feature_map(q), self.feature_map(k), value), None

    def output(self, reading, extra):
        z = reading[:, -1:]
        return (reading[:, :-1] / jnp.where(z == 0, 1, z)).ravel()
