"""The block of Gated DeltaNet: a short convolution, and the gated delta rule with its norm and
gate.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.delta_rule import check_beta_max
from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.gated_delta_rule import gated_delta_rule
from .._cells.fast_weights.heads import unit
from .._cells.fast_weights.write import Memory
from .._cells.initialisers import lecun_normal, log_of_uniform, softplus_bias
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from .._core.precision import state_dtype
from .._core.validation import check_divisor, check_heads, check_sizes
from ..layers.stack import Stack
from .short_conv import ShortConv


class GatedDeltaCore(AbstractFastWeightCell):
    """The second layer of `gated_delta_net_block`, which has its equations.

    Shapes: x is ((queries + keys + values,), (values + 2 heads,)): the filtered q, k and v, and the
    unfiltered z, b and a. S (key_heads, heads/key_heads, value, key).
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    A_log: Float[Array, " heads"]
    dt_bias: Float[Array, " heads"]
    scale: Float[Array, " value"]
    W_o: Float[Array, "output values"]
    num_key_heads: int = eqx.field(static=True)
    key_size: int = eqx.field(static=True)
    beta_max: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def init_state(self):
        value_size, num_heads = len(self.scale), len(self.A_log)
        heads = self.num_key_heads, num_heads // self.num_key_heads
        return Memory(jnp.zeros((*heads, value_size, self.key_size), state_dtype(self.W_o)))

    def project(self, x):
        (qkv, zba), all_keys = x, self.num_key_heads * self.key_size
        q, k, v = jnp.split(qkv, (all_keys, 2 * all_keys))
        z, b, a = jnp.split(zba, (len(v), len(v) + len(self.A_log)))
        q, k = (unit(leaf.reshape(self.num_key_heads, 1, -1)) for leaf in (q, k))
        v = v.reshape(self.num_key_heads, -1, len(self.scale))
        beta = self.beta_max * sigmoid(b)
        log_alpha = -jnp.exp(self.A_log) * softplus(a + self.dt_bias)
        beta, log_alpha = (leaf.reshape(*v.shape[:2], 1) for leaf in (beta, log_alpha))
        return gated_delta_rule(q * self.key_size**-0.5, k, v, beta, log_alpha), z

    def output(self, reading, extra):
        normed = self.scale * rms_norm(reading, self.eps)
        return (normed.ravel() * silu(extra)) @ self.W_o.mT


@makes_layer
def gated_delta_net_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    num_key_heads: int | None = None,
    key_size: int | None = None,
    width: int = 4,
    beta_max: float = 1.0,
    eps: float = 1e-6,
    key: PRNGKeyArray,
) -> Stack:
    """The block of Gated DeltaNet and Qwen3-Next: the gated delta rule after a short convolution.

        [q; k; v]_t = SiLU(conv(W x)_t),    [z; b; a]_t = U x_t
        q̃_t = unit(q_t) / √d,  k̃_t = unit(k_t)                        of each head, d its key size
        ln α_t = −exp(A_log) softplus(a_t + dt_bias),    β_t = beta_max · σ(b_t)
        S_t = S_{t−1} α_t (I − β_t k̃_t k̃_tᵀ) + β_t v_t k̃_tᵀ
        y_t = W_o (scale ∘ rms_norm(S_t q̃_t) ∘ SiLU(z_t))             normed within each head

    Consecutive heads of values share one head of queries and keys. The block is a cell of two
    layers: it can be stepped.

    Shapes: x and y (input,), v and z (heads, value), α and β (heads,), q and k (key_heads, key),
    scale (value,), with hidden = heads · value. Cost per step: O(input · hidden) for the
    projections, none of it sequential, and O(hidden · key) for the memory, sequential from chunk to
    chunk only.
    Source: Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464, in the block of
    `Qwen3NextGatedDeltaNet` of Hugging Face transformers 5.24.0, whose weights
    `seqmem.interop.from_qwen3_next` reads, and of flash-linear-attention's `GatedDeltaNet` at
    commit bc3b101 (`from_fla_gated_delta_net`). Differs: the initial parameters are those of
    `seqmem.GatedDeltaRule`.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the values of all heads, a multiple of `num_heads`.
        num_heads: number of heads of values, > 0.
        num_key_heads: number of heads of queries and keys, a divisor of `num_heads`; None: as many.
        key_size: features of the key of one head, > 0; None: as of its value.
        width: taps of the convolution, > 0.
        beta_max: largest β, in (0, 2].
        eps: ε of the norm, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, the key heads do not divide the
            heads, beta_max is out of range, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.gated_delta_net_block(
        ...     5, 14, num_heads=2, key_size=3, key=jax.random.key(0)
        ... )
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    owner = "gated_delta_net_block"
    check_heads(owner, hidden_size, num_heads)
    num_key_heads = num_heads if num_key_heads is None else num_key_heads
    check_divisor(owner, "num_key_heads", num_key_heads, "num_heads", num_heads)
    value_size = hidden_size // num_heads
    key_size = value_size if key_size is None else key_size
    check_sizes(owner, input_size=input_size, key_size=key_size)
    check_beta_max(owner, beta_max)
    keys = jax.random.split(key, 4)
    core = GatedDeltaCore(
        A_log=log_of_uniform(keys[1], num_heads, 1.0, 16.0),
        dt_bias=softplus_bias(keys[2], num_heads, 1e-3, 1e-1),
        scale=jnp.ones(value_size),
        W_o=lecun_normal(keys[3], (input_size, hidden_size)),
        num_key_heads=num_key_heads,
        key_size=key_size,
        beta_max=beta_max,
        eps=eps,
    )
    qkv_size = 2 * num_key_heads * key_size + hidden_size
    zba_size = hidden_size + 2 * num_heads
    conv = ShortConv(input_size, qkv_size, zba_size, width=width, bias=False, key=keys[0])
    return Stack([conv, core])
