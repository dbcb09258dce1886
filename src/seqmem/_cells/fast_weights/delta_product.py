import equinox as eqx
import jax
from jax.nn import sigmoid, silu
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal
from .delta_rule import check_beta_max
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head, unit
from .write import Write


class DeltaProduct(AbstractFastWeightCell):
    """Several delta rules per step, so that the transition is a product of generalised Householder
    matrices: with n of them it can be any rotation in n dimensions.

        q_t = unit(SiLU(W_q x_t))                                                       of each head
        k_tj = unit(SiLU(W_k,j x_t)),  v_tj = SiLU(W_v,j x_t),  β_tj = beta_max · σ(W_β,j x_t)
        S_tj = S_{t,j−1} (I − β_tj k_tj k_tjᵀ) + β_tj v_tj k_tjᵀ,    j = 1, ..., n
        S_t0 = S_{t−1},    S_t = S_tn,    y_t = S_t q_t

    Shapes: x (input,), q (heads, key), k (n, heads, key), v (n, heads, value), β (n, heads), S
    (heads, value, key), y (hidden,) with hidden = heads · value. Cost per step: O(input · hidden ·
    n) for the projections, none of it sequential, and O(hidden · key · n) for the memory,
    sequential from chunk to chunk only.
    Source: Siems et al. 2025, arXiv:2502.10297, without the forget gate of its gated form. Differs:
    the short convolutions before SiLU, and the output norm, are left to the network around the
    cell.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        num_writes: n, delta rules per step, > 0.
        beta_max: largest β, in (0, 2].
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, a size or `num_writes` is below
            1, or beta_max is out of range.
    """

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "writes keys input"]
    W_v: Float[Array, "writes hidden input"]
    W_beta: Float[Array, "writes heads input"]
    num_heads: int = eqx.field(static=True)
    beta_max: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        num_writes: int = 2,
        beta_max: float = 2.0,
        key: PRNGKeyArray,
    ):
        check_heads("DeltaProduct", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        sizes = {"input_size": input_size, "key_size": key_size, "num_writes": num_writes}
        check_sizes("DeltaProduct", **sizes)
        check_beta_max("DeltaProduct", beta_max)
        keys = jax.random.split(key, 4)
        self.W_q = lecun_normal(keys[0], (num_heads * key_size, input_size))
        self.W_k = lecun_normal(keys[1], (num_writes, num_heads * key_size, input_size))
        self.W_v = lecun_normal(keys[2], (num_writes, hidden_size, input_size))
        self.W_beta = lecun_normal(keys[3], (num_writes, num_heads, input_size))
        self.num_heads = num_heads
        self.beta_max = beta_max

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (W.shape[-2] // self.num_heads for W in (self.W_v, self.W_q))
        return empty_memory(self.num_heads, value_size, key_size, self.W_q)

    def project(self, x):
        q = unit(per_head(silu(x @ self.W_q.mT), self.num_heads))

        def writes_per_head(
            drive: Array,
        ) -> Array:  # [write, width] to [head, write, width / heads]
            return jax.vmap(lambda one: per_head(one, self.num_heads), out_axes=1)(drive)

        k = unit(writes_per_head(silu(x @ self.W_k.mT)))
        v = writes_per_head(silu(x @ self.W_v.mT))
        beta = writes_per_head(self.beta_max * sigmoid(x @ self.W_beta.mT))
        return Write(q, k, beta * v, remove=beta * k), None

    def output(self, reading, extra):
        return reading.ravel()
