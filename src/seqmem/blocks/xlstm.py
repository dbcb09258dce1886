"""The block of xLSTM 7B: the matrix LSTM with capped gates, its norm, gate and projection."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.heads import empty_memory, per_head
from .._cells.fast_weights.mlstm import exponentially_gated, normalised
from .._cells.fast_weights.write import Memory
from .._cells.initialisers import lecun_normal
from .._cells.normalisation import layer_norm
from .._core.calls import makes_layer
from .._core.precision import state_dtype
from .._core.validation import check_heads, check_sizes
from ..layers.stack import Stack


class MLSTMCore(AbstractFastWeightCell):
    """The layer of `xlstm_block`, which has its equations."""

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    W_g: Float[Array, "hidden input"]
    W_i: Float[Array, "heads input"]
    b_i: Float[Array, " heads"]
    W_f: Float[Array, "heads input"]
    b_f: Float[Array, " heads"]
    scale: Float[Array, " hidden"]
    W_o: Float[Array, "output hidden"]
    cap: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    norm_eps: float = eqx.field(static=True)

    @property
    def input_shape(self):
        return (self.W_q.shape[1],)

    def init_state(self):
        num_heads = len(self.b_i)
        value_size, key_size = (len(W) // num_heads for W in (self.W_v, self.W_k))
        empty = empty_memory(num_heads, value_size + 1, key_size, self.W_q)
        return Memory(empty.matrix, jnp.zeros((num_heads, 1), state_dtype(self.W_q)))

    def project(self, x):
        q, k, v = (per_head(x @ W.mT, len(self.b_i)) for W in (self.W_q, self.W_k, self.W_v))
        i, f = (
            self.cap * jnp.tanh((x @ W.mT + b) / self.cap)
            for W, b in ((self.W_i, self.b_i), (self.W_f, self.b_f))
        )
        return exponentially_gated(q, k, v, i, f), x @ self.W_g.mT

    def output(self, reading, extra):
        normed = layer_norm(normalised(reading, self.eps), self.norm_eps)
        return (sigmoid(extra) * self.scale * normed.ravel()) @ self.W_o.mT


@makes_layer
def xlstm_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    key_size: int | None = None,
    cap: float = 15.0,
    eps: float = 1e-6,
    norm_eps: float | None = None,
    key: PRNGKeyArray,
) -> Stack:
    """The block of xLSTM 7B: a matrix LSTM with capped gates, its norm, gate and projection.

        q_t = W_q x_t,  k_t = W_k x_t / √d,  v_t = W_v x_t             of each head, d its key size
        i_t = exp(c tanh((W_i x_t + b_i)/c)),    f_t = σ(c tanh((W_f x_t + b_f)/c))
        C_t = f_t C_{t−1} + i_t v_t k_tᵀ,    n_t = f_t n_{t−1} + i_t k_t
        h_t = C_t q_t / (max(|n_tᵀ q_t|, 1) + ε exp(m_t))
        y_t = W_o (σ(W_g x_t) ∘ scale ∘ layer_norm(h_t))               normed within each head

    m_t is the stabiliser of `seqmem.MLSTM`. The block is a cell of one layer: it can be stepped.

    Shapes: x and y (input,), C (heads, value + 1, key), m (heads, 1), i and f (heads,), scale
    (hidden,), with hidden = heads · value. Cost per step: O(input · (hidden + heads · key)) for the
    projections, none of it sequential, and O(hidden · key) for the memory, sequential from chunk to
    chunk only.
    Source: Beck et al. 2025, arXiv:2503.13427; `xLSTMLayer` of Hugging Face transformers 5.24.0,
    whose weights `seqmem.interop.from_xlstm` reads and whose ε it has. Differs: at the start W_i
    and W_f are small, where they are 0 there; b_i is −10 and b_f goes from 3 to 6, as there.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the values of all heads, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: half of its value's.
        cap: c, the bound of the gates before exp and σ, > 0.
        eps: ε, > 0.
        norm_eps: ε of the norm, > 0; None is `eps`.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.xlstm_block(5, 12, num_heads=3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    check_heads("xlstm_block", hidden_size, num_heads)
    key_size = hidden_size // num_heads // 2 if key_size is None else key_size
    check_sizes("xlstm_block", input_size=input_size, key_size=key_size)
    keys = jax.random.split(key, 4)
    W_q, W_k = lecun_normal(keys[0], (2, num_heads * key_size, input_size))
    W_v, W_g = lecun_normal(keys[1], (2, hidden_size, input_size))
    W_i, W_f = 0.1 * lecun_normal(keys[2], (2, num_heads, input_size))
    core = MLSTMCore(
        W_q=W_q,
        W_k=W_k,
        W_v=W_v,
        W_g=W_g,
        W_i=W_i,
        b_i=jnp.full(num_heads, -10.0),
        W_f=W_f,
        b_f=jnp.linspace(3.0, 6.0, num_heads),
        scale=jnp.ones(hidden_size),
        W_o=lecun_normal(keys[3], (input_size, hidden_size)),
        cap=cap,
        eps=eps,
        norm_eps=eps if norm_eps is None else norm_eps,
    )
    return Stack([core])
