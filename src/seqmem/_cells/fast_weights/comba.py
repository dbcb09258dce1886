import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal, log_of_uniform, softplus_bias
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head, unit
from .write import Write


class Comba(AbstractFastWeightCell):
    """The delta rule as closed-loop control: the value under a key is fed back, more weakly than it
    is written, to the memory and to the output.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = SiLU(W_v x_t)     of each head
        ln α_t = −exp(A_log) softplus(W_α x_t + dt_bias),    β_t = σ(W_β x_t),    b = σ(b_0)
        S_t = S_{t−1} (α_t I − b β_t k_t k_tᵀ) + β_t v_t k_tᵀ
        y_t = S_t (q_t − d k_t)

    The value that is removed is read before the decay: S_{t−1} is multiplied by a scalar plus a
    matrix of rank 1, where that of `seqmem.GatedDeltaRule` is α_t (I − β_t k_t k_tᵀ).

    Shapes: x (input,), q and k (heads, key), v (heads, value), α, β, b_0 and d (heads,), S (heads,
    value, key), y (hidden,) with hidden = heads · value. Cost per step: O(input · hidden) for the
    projections, none of it sequential, and O(hidden · key) for the memory, sequential from chunk to
    chunk only.
    Source: Hu et al. 2025, arXiv:2506.02475; of the paper the abstract was read, which has the
    scalar plus a matrix of low rank and the two corrections, and the equations in the kernel for
    single steps of flash-linear-attention at commit bc3b101, ops/comba. What is fed back, there
    p_t, is b k_t here. Differs: d starts at 0.02, which the authors' summary has for small models,
    and b_0 at 1, as in that library's layer; softplus(dt_bias) starts log-uniform on [0.001, 0.1]
    and exp(A_log) uniform on [1, 16]; the short convolutions before SiLU, and the output norm, gate
    and projection, are in `seqmem.blocks.comba_block`.

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
    W_alpha: Float[Array, "heads input"]
    dt_bias: Float[Array, " heads"]
    A_log: Float[Array, " heads"]
    b_0: Float[Array, " heads"]
    d: Float[Array, " heads"]
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
        check_heads("Comba", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("Comba", input_size=input_size, key_size=key_size)
        keys = jax.random.split(key, 5)
        self.W_q, self.W_k = lecun_normal(keys[0], (2, num_heads * key_size, input_size))
        self.W_v = lecun_normal(keys[1], (hidden_size, input_size))
        self.W_beta, self.W_alpha = lecun_normal(keys[2], (2, num_heads, input_size))
        self.dt_bias = softplus_bias(keys[3], num_heads, 1e-3, 1e-1)
        self.A_log = log_of_uniform(keys[4], num_heads, 1.0, 16.0)
        self.b_0 = jnp.ones(num_heads)
        self.d = jnp.full(num_heads, 0.02)
        self.num_heads = num_heads

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        return empty_memory(self.num_heads, value_size, key_size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(silu(x @ W.mT), self.num_heads) for W in (self.W_q, self.W_k, self.W_v))
        q, k = unit(q), unit(k)
        beta = sigmoid(x @ self.W_beta.mT)[:, None]
        log_alpha = -jnp.exp(self.A_log) * softplus(x @ self.W_alpha.mT + self.dt_bias)
        p = sigmoid(self.b_0)[:, None] * k
        query = q - self.d[:, None] * k
        return Write(query, k, beta * v, log_alpha[:, None], remove=beta * p), None

    def output(self, reading, extra):
        return reading.ravel()
