"""The block of DeltaNet: a short convolution, and the delta rule with its norm."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.delta_rule import check_beta_max
from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.heads import empty_memory, per_head, unit
from .._cells.fast_weights.write import Write
from .._cells.initialisers import lecun_normal
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from .._core.validation import check_heads, check_sizes
from ..layers.stack import Stack
from .short_conv import ShortConv


class DeltaCore(AbstractFastWeightCell):
    """The second layer of `delta_net_block`, which has its equations.

    Shapes: x is ((queries + keys + values,), (heads,)): the filtered q, k and v, and the unfiltered
    β̂. S (heads, value, key).
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    scale: Float[Array, " value"]
    W_o: Float[Array, "output values"]
    num_heads: int = eqx.field(static=True)
    key_size: int = eqx.field(static=True)
    beta_max: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def init_state(self):
        return empty_memory(self.num_heads, len(self.scale), self.key_size, self.W_o)

    def project(self, x):
        (qkv, beta), all_keys = x, self.num_heads * self.key_size
        q, k, v = jnp.split(qkv, (all_keys, 2 * all_keys))
        q, k, v = (per_head(leaf, self.num_heads) for leaf in (q, k, v))
        beta, k = self.beta_max * sigmoid(beta)[:, None], unit(k)
        return Write(unit(q) * self.key_size**-0.5, k, beta * v, remove=beta * k), None

    def output(self, reading, extra):
        return (self.scale * rms_norm(reading, self.eps)).ravel() @ self.W_o.mT


@makes_layer
def delta_net_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    key_size: int | None = None,
    width: int = 4,
    beta_max: float = 1.0,
    eps: float = 1e-5,
    key: PRNGKeyArray,
) -> Stack:
    """The block of DeltaNet: the delta rule after a short convolution.

        [q; k; v]_t = SiLU(conv(W x)_t),    β̂_t = U x_t
        q̃_t = unit(q_t) / √d,  k̃_t = unit(k_t)                        of each head, d its key size
        β_t = beta_max · σ(β̂_t)
        S_t = S_{t−1} (I − β_t k̃_t k̃_tᵀ) + β_t v_t k̃_tᵀ
        y_t = W_o (scale ∘ rms_norm(S_t q̃_t))                          normed within each head

    The block is a cell of two layers: it can be stepped.

    Shapes: x and y (input,), q and k (heads, key), v (heads, value), β (heads,), scale (value,),
    with hidden = heads · value. Cost per step: O(input · hidden) for the projections, none of it
    sequential, and O(hidden · key) for the memory, sequential from chunk to chunk only.
    Source: Yang et al. 2024, arXiv:2406.06484, in the block of `DeltaNet` in flash-linear-attention
    at commit bc3b101, whose weights `seqmem.interop.from_fla_delta_net` reads. Differs: none.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the values of all heads, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        width: taps of the convolution, > 0.
        beta_max: largest β, in (0, 2].
        eps: ε of the norm, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, beta_max is out of range, or a
            size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.delta_net_block(
        ...     5, 14, num_heads=2, key_size=3, key=jax.random.key(0)
        ... )
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    owner = "delta_net_block"
    check_heads(owner, hidden_size, num_heads)
    value_size = hidden_size // num_heads
    key_size = value_size if key_size is None else key_size
    check_sizes(owner, input_size=input_size, key_size=key_size)
    check_beta_max(owner, beta_max)
    conv_key, output_key = jax.random.split(key)
    core = DeltaCore(
        scale=jnp.ones(value_size),
        W_o=lecun_normal(output_key, (input_size, hidden_size)),
        num_heads=num_heads,
        key_size=key_size,
        beta_max=beta_max,
        eps=eps,
    )
    qkv_size = 2 * num_heads * key_size + hidden_size
    conv = ShortConv(input_size, qkv_size, num_heads, width=width, bias=False, key=conv_key)
    return Stack([conv, core])
