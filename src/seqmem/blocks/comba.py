"""The block of Comba: a short convolution, and the delta rule with feedback to memory and output,
with its norm and gate.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.heads import empty_memory, per_head, unit
from .._cells.fast_weights.write import Write
from .._cells.initialisers import lecun_normal, log_of_uniform, softplus_bias
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from .._core.validation import check_heads, check_sizes
from ..layers.stack import Stack
from .short_conv import ShortConv


class CombaCore(AbstractFastWeightCell):
    """The second layer of `comba_block`, which has its equations.

    Shapes: x is ((queries + keys + values,), (values + 2 heads,)): the filtered q, k and v, and the
    unfiltered z, β̂ and a. S (heads, value, key).
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    A_log: Float[Array, " heads"]
    dt_bias: Float[Array, " heads"]
    b_0: Float[Array, " heads"]
    d: Float[Array, " heads"]
    scale: Float[Array, " value"]
    W_o: Float[Array, "output values"]
    key_size: int = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def init_state(self):
        return empty_memory(len(self.A_log), len(self.scale), self.key_size, self.W_o)

    def project(self, x):
        (qkv, others), num_heads = x, len(self.A_log)
        all_keys = num_heads * self.key_size
        leaves = jnp.split(qkv, (all_keys, 2 * all_keys))
        q, k, v = (per_head(leaf, num_heads) for leaf in leaves)
        z, beta, a = jnp.split(others, (v.size, v.size + num_heads))
        p = sigmoid(self.b_0)[:, None] * k
        query = unit(q - self.d[:, None] * p) * self.key_size**-0.5
        beta = sigmoid(beta)[:, None]
        log_alpha = -jnp.exp(self.A_log) * softplus(a + self.dt_bias)
        remove = beta * unit(p)
        return Write(query, unit(k), beta * v, log_alpha[:, None], remove=remove), z

    def output(self, reading, extra):
        normed = self.scale * rms_norm(reading, self.eps)
        return (normed.ravel() * sigmoid(extra)) @ self.W_o.mT


@makes_layer
def comba_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    key_size: int | None = None,
    width: int = 4,
    eps: float = 1e-5,
    key: PRNGKeyArray,
) -> Stack:
    """The block of Comba: a memory with feedback, after a short convolution.

        [q; k; v]_t = SiLU(conv(W x)_t),    [z; β̂; a]_t = U x_t
        p_t = σ(b_0) k_t,  k̃_t = unit(k_t),  p̃_t = unit(p_t)           of each head
        q̃_t = unit(q_t − d p_t) / √n                                  n the key size of one head
        ln α_t = −exp(A_log) softplus(a_t + dt_bias),    β_t = σ(β̂_t)
        S_t = S_{t−1} (α_t I − β_t p̃_t k̃_tᵀ) + β_t v_t k̃_tᵀ
        y_t = W_o (scale ∘ rms_norm(S_t q̃_t) ∘ σ(z_t))                 normed within each head

    p̃ is a unit vector, so b_0 changes the correction of the query alone; in `seqmem.Comba` it
    weakens what is removed too. The block is a cell of two layers: it can be stepped.

    Shapes: x and y (input,), q, k and p (heads, key), v and z (heads, value), α, β, b_0 and d
    (heads,), scale (value,), with hidden = heads · value. Cost per step: O(input · hidden) for the
    projections, none of it sequential, and O(hidden · key) for the memory, sequential from chunk to
    chunk only.
    Source: Hu et al. 2025, arXiv:2506.02475, as `Comba` of flash-linear-attention at commit bc3b101
    and its kernel for single steps have it, whose weights `seqmem.interop.from_fla_comba` reads.
    Differs: the initial parameters are those of `seqmem.Comba`; there d is 1.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the values of all heads, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        width: taps of the convolution, > 0.
        eps: ε of the norm, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.comba_block(5, 14, num_heads=2, key_size=3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    check_heads("comba_block", hidden_size, num_heads)
    value_size = hidden_size // num_heads
    key_size = value_size if key_size is None else key_size
    check_sizes("comba_block", input_size=input_size, key_size=key_size)
    keys = jax.random.split(key, 4)
    core = CombaCore(
        A_log=log_of_uniform(keys[1], num_heads, 1.0, 16.0),
        dt_bias=softplus_bias(keys[2], num_heads, 1e-3, 1e-1),
        b_0=jnp.ones(num_heads),
        d=jnp.full(num_heads, 0.02),
        scale=jnp.ones(value_size),
        W_o=lecun_normal(keys[3], (input_size, hidden_size)),
        key_size=key_size,
        eps=eps,
    )
    qkv_size = 2 * num_heads * key_size + hidden_size
    others_size = hidden_size + 2 * num_heads
    conv = ShortConv(input_size, qkv_size, others_size, width=width, bias=False, key=keys[0])
    return Stack([conv, core])
