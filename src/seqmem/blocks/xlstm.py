"""The block of xLSTM 7B: the matrix LSTM with capped gates, its norm, gate and projection."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell, Memory
from .._cells.fast_weights.heads import check_heads, empty_memory, per_head
from .._cells.fast_weights.mlstm import exponentially_gated, normalised
from .._cells.initialisers import lecun_normal
from .._cells.normalisation import layer_norm
from .._core.precision import state_dtype
from .._core.validation import check_sizes
from ..layers.stack import Stack


class MLSTMCore(AbstractFastWeightCell):
    """The layer of `mlstm`, which has its equations."""

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "size input"]
    W_g: Float[Array, "size input"]
    W_i: Float[Array, "heads input"]
    b_i: Float[Array, " heads"]
    W_f: Float[Array, "heads input"]
    b_f: Float[Array, " heads"]
    scale: Float[Array, " size"]
    W_o: Float[Array, "output size"]
    cap: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    @property
    def input_shape(self):
        return (self.W_q.shape[1],)

    def init_state(self):
        heads, size, keys = len(self.b_i), len(self.scale), len(self.W_k)
        empty = empty_memory(heads, size // heads + 1, keys // heads, self.W_q)
        return Memory(empty.matrix, jnp.zeros((heads, 1), state_dtype(self.W_q)))

    def project(self, x):
        q, k, v = (per_head(x @ W.mT, len(self.b_i)) for W in (self.W_q, self.W_k, self.W_v))
        i, f = (
            self.cap * jnp.tanh((x @ W.mT + b) / self.cap)
            for W, b in ((self.W_i, self.b_i), (self.W_f, self.b_f))
        )
        return exponentially_gated(q, k, v, i, f), x @ self.W_g.mT

    def output(self, reading, extra):
        shown = layer_norm(normalised(reading, self.eps), self.eps)
        return (sigmoid(extra) * self.scale * shown.ravel()) @ self.W_o.mT


def xlstm_block(
    input_size: int,
    size: int,
    heads: int,
    *,
    key_size: int | None = None,
    cap: float = 15.0,
    eps: float = 1e-6,
    key: PRNGKeyArray,
) -> Stack:
    """The block of xLSTM 7B: a matrix LSTM whose gates are capped, with its norm and gate.

        q_t = W_q x_t,  k_t = W_k x_t / √d,  v_t = W_v x_t             of each head
        i_t = exp(c tanh((W_i x_t + b_i)/c)),    f_t = σ(c tanh((W_f x_t + b_f)/c))
        C_t = f_t C_{t−1} + i_t v_t k_tᵀ,    n_t = f_t n_{t−1} + i_t k_t
        h_t = C_t q_t / (max(|n_tᵀ q_t|, 1) + ε exp(m_t))
        y_t = W_o (σ(W_g x_t) ∘ scale ∘ layer_norm(h_t))               normed within each head

    It is a cell, of one layer: it steps, and every law holds for it. m_t is that of
    `seqmem.MLSTM`.

    Shapes: x and y (input,), C (heads, size/heads + 1, key_size/heads), m (heads, 1), i and f
    (heads,), scale (size,). Cost per step: O(input · (size + key_size)) and O(size · key_size /
    heads), of which the latter is done in blocks.
    Source: Beck et al. 2025, arXiv:2503.13427; `xLSTMLayer` of Hugging Face transformers 5.24.0,
    whose weights `seqmem.interop.from_xlstm` takes and whose ε it has. Differs: at the start W_i
    and W_f are small, where they are 0 there; b_i is −10 and b_f goes from 3 to 6, as there.

    Args:
        input_size: entries of one input and of one output, > 0.
        size: entries of all heads' values, shared evenly.
        heads: > 0.
        key_size: entries of all heads' keys; None is half the size.
        cap: c, > 0.
        eps: ε, also of the norm, > 0.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide a size, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.xlstm_block(5, 12, 3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, block.init_state(), jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    key_size = size // 2 if key_size is None else key_size
    check_heads("mlstm", size, heads)
    check_heads("mlstm", key_size, heads)
    check_sizes("mlstm", input_size=input_size, size=size, key_size=key_size)
    keys = jax.random.split(key, 4)
    W_q, W_k = lecun_normal(keys[0], (2, key_size, input_size))
    W_v, W_g = lecun_normal(keys[1], (2, size, input_size))
    W_i, W_f = 0.1 * lecun_normal(keys[2], (2, heads, input_size))
    core = MLSTMCore(
        W_q=W_q,
        W_k=W_k,
        W_v=W_v,
        W_g=W_g,
        W_i=W_i,
        b_i=jnp.full(heads, -10.0),
        W_f=W_f,
        b_f=jnp.linspace(3.0, 6.0, heads),
        scale=jnp.ones(size),
        W_o=lecun_normal(keys[3], (input_size, size)),
        cap=cap,
        eps=eps,
    )
    return Stack([core])
