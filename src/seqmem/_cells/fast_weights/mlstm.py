import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head
from .write import Memory, Write


class MLSTM(AbstractFastWeightCell):
    """Matrix LSTM: a matrix per head, an exponential input gate, a forget gate and a normaliser.

        q_t = W_q x_t + b_q,  k_t = (W_k x_t + b_k) / √d,  v_t = W_v x_t + b_v          of each head
        i_t = exp(w_iᵀ x_t + b_i),  f_t = σ(w_fᵀ x_t + b_f),  o_t = σ(W_o x_t + b_o)
        C_t = f_t C_{t−1} + i_t v_t k_tᵀ,    n_t = f_t n_{t−1} + i_t k_t
        y_t = o_t ∘ C_t q_t / max(|n_tᵀ q_t|, 1)

    n is one more row of C, written with the value 1. Both are held divided by exp(m_t), where
    m_t = max(ln f_t + m_{t−1}, ln i_t), so that no gate overflows. The derivative of m_t where both
    are equal is that of ln i_t; y_t does not depend on m_t.

    Shapes: x (input,), q, k and v (heads, size), C (heads, size + 1, size), m (heads, 1), i and f
    (heads,), o and y (hidden,) with hidden = heads · size. Cost per step: O(input · hidden) for the
    projections, none of it sequential, and O(hidden · size) for the memory, sequential from chunk
    to chunk only.
    Source: Beck et al. 2024, arXiv:2405.04517, equations 19 to 27 with σ in 26, and 15 for m.
    Differs: √d divides b_k too, as in the authors' code, NX-AI/xlstm, where the gates i and f are
    computed from q, k and v. At the start b_f goes from 3 to 6 over the heads, as there; w_i and
    w_f are normal with the standard deviation 0.1/√input and b_i is 0, where w_i and w_f are 0
    there and b_i is drawn from N(0, 0.1²).

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.
    """

    W: Float[Array, "4 hidden input"]
    b: Float[Array, "4 hidden"]
    w_i: Float[Array, "heads input"]
    b_i: Float[Array, " heads"]
    w_f: Float[Array, "heads input"]
    b_f: Float[Array, " heads"]
    num_heads: int = eqx.field(static=True)

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int, key: PRNGKeyArray):
        check_sizes("MLSTM", input_size=input_size)
        check_heads("MLSTM", hidden_size, num_heads)
        matrix_key, gate_key = jax.random.split(key)
        self.W = lecun_normal(matrix_key, (4, hidden_size, input_size))
        self.b = jnp.zeros((4, hidden_size))
        self.w_i, self.w_f = 0.1 * lecun_normal(gate_key, (2, num_heads, input_size))
        self.b_i = jnp.zeros(num_heads)
        self.b_f = jnp.linspace(3.0, 6.0, num_heads)
        self.num_heads = num_heads

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        size = self.b.shape[1] // self.num_heads
        empty = empty_memory(self.num_heads, size + 1, size, self.W)
        return Memory(empty.matrix, jnp.zeros((self.num_heads, 1), state_dtype(self.W)))

    def project(self, x):
        q, k, v, o = x @ self.W.mT + self.b
        q, k, v = (per_head(leaf, self.num_heads) for leaf in (q, k, v))
        i, f = x @ self.w_i.mT + self.b_i, x @ self.w_f.mT + self.b_f
        return exponentially_gated(q, k, v, i, f), o

    def output(self, reading, extra):
        return sigmoid(extra) * normalised(reading).ravel()


def exponentially_gated(
    q: Float[Array, "heads key"],
    k: Float[Array, "heads key"],
    v: Float[Array, "heads value"],
    i: Float[Array, " heads"],
    f: Float[Array, " heads"],
) -> Write:
    """C_t = σ(f_t) C_{t−1} + exp(i_t) v_t k_tᵀ / √d, with n_t as its last row."""
    value = jnp.concatenate([v, jnp.ones_like(v[:, :1])], -1)
    k = k / math.sqrt(k.shape[-1])
    return Write(q, k, value, log_sigmoid(f)[:, None], log_gain=i[:, None])


def normalised(
    reading: tuple[Float[Array, "heads value_1"], Float[Array, "heads 1"]], eps: float = 0.0
) -> Float[Array, "heads value"]:
    """C_t q_t / (max(|n_tᵀ q_t|, 1) + ε exp(m_t)), given [C_t; n_t] q_t / exp(m_t) and m_t."""
    scaled, m = reading
    n = jnp.abs(scaled[:, -1:])
    # |n_tᵀ q_t| ≤ 1. Where exp(−m) is 0, this means n = 0, as for a query of 0, whose reading is 0
    # at any scale; the bound keeps exp(m) finite there.
    is_below_1 = n <= jnp.exp(-m)
    most = 0.9 * math.log(jnp.finfo(m.dtype).max)
    scale = jnp.exp(jnp.minimum(jnp.where(is_below_1, m, 0), most))
    below_1 = scaled[:, :-1] * scale / (1 + eps * scale)
    return jnp.where(is_below_1, below_1, scaled[:, :-1] / (jnp.where(is_below_1, 1, n) + eps))
