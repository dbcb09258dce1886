"""The block of Gated DeltaNet: a short filter, and the gated delta rule with its norm and gate."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.delta_rule import check_beta_max
from .._cells.fast_weights.family import AbstractFastWeightCell, Memory
from .._cells.fast_weights.gated_delta_rule import gated_delta_rule
from .._cells.fast_weights.heads import check_heads, unit
from .._cells.initialisers import lecun_normal, log_of_uniform, softplus_bias
from .._cells.normalisation import rms_norm
from .._core.precision import state_dtype
from .._core.validation import check_sizes
from ..layers.stack import Stack
from .short_conv import ShortFilter


class GatedDeltaCore(AbstractFastWeightCell):
    """The second layer of `gated_delta_net`, which has its equations.

    Shapes: x is ((queries + keys + values,), (values + 2 heads,)): what the filter shows, and z, b
    and a. S (key_heads, heads/key_heads, value_size, key_size).
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    A_log: Float[Array, " heads"]
    dt_bias: Float[Array, " heads"]
    scale: Float[Array, " value_size"]
    W_o: Float[Array, "output values"]
    key_heads: int = eqx.field(static=True)
    key_size: int = eqx.field(static=True)
    strength: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def init_state(self):
        values, heads = len(self.scale), len(self.A_log)
        shape = self.key_heads, heads // self.key_heads, values, self.key_size
        return Memory(jnp.zeros(shape, state_dtype(self.W_o)))

    def project(self, x):
        (mixed, beside), keys = x, self.key_heads * self.key_size
        q, k, v = jnp.split(mixed, (keys, 2 * keys))
        z, b, a = jnp.split(beside, (len(v), len(v) + len(self.A_log)))
        q, k = (unit(leaf.reshape(self.key_heads, 1, -1)) for leaf in (q, k))
        v = v.reshape(self.key_heads, -1, len(self.scale))
        beta = self.strength * sigmoid(b)
        log_alpha = -jnp.exp(self.A_log) * softplus(a + self.dt_bias)
        beta, log_alpha = (leaf.reshape(*v.shape[:2], 1) for leaf in (beta, log_alpha))
        return gated_delta_rule(q * self.key_size**-0.5, k, v, beta, log_alpha), z

    def output(self, reading, extra):
        shown = self.scale * rms_norm(reading, self.eps)
        return (shown.ravel() * silu(extra)) @ self.W_o.mT


def gated_delta_net_block(
    input_size: int,
    heads: int,
    key_size: int,
    value_size: int,
    *,
    key_heads: int | None = None,
    width: int = 4,
    strength: float = 1.0,
    eps: float = 1e-6,
    key: PRNGKeyArray,
) -> Stack:
    """The block of Gated DeltaNet and of Qwen3-Next: the gated delta rule behind a short filter.

        [q; k; v]_t = SiLU(conv(W x)_t),    [z; b; a]_t = U x_t
        q̃_t = unit(q_t) / √d,  k̃_t = unit(k_t)                        of each head, d its key size
        ln α_t = −exp(A_log) softplus(a_t + dt_bias),    β_t = strength · σ(b_t)
        S_t = S_{t−1} α_t (I − β_t k̃_t k̃_tᵀ) + β_t v_t k̃_tᵀ
        y_t = W_o (scale ∘ rms_norm(S_t q̃_t) ∘ SiLU(z_t))

    It is a cell, of two layers: it steps, and every law holds for it. Heads share queries and keys
    in groups, in order.

    Shapes: x and y (input,), v and z (heads, value_size), α and β (heads,), q and k (key_heads,
    key_size), scale (value_size,). Cost per step: O(input · heads · value_size) and O(heads ·
    value_size · key_size), of which the latter is done in blocks.
    Source: Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464, in the block of
    `Qwen3NextGatedDeltaNet` of Hugging Face transformers 5.24.0, whose weights
    `seqmem.interop.from_qwen3_next` takes, and of flash-linear-attention's `GatedDeltaNet` at
    commit bc3b101 (`from_fla_gated_delta_net`). Differs: the start is that of
    `seqmem.GatedDeltaRule`.

    Args:
        input_size: entries of one input and of one output, > 0.
        heads: of values, > 0.
        key_size: entries of the key of one head, > 0.
        value_size: entries of the value of one head, > 0.
        key_heads: of queries and keys, a divisor of `heads`; None is as many.
        width: taps of the convolution, > 0.
        strength: the largest β, in (0, 2].
        eps: of the norm, > 0.
        key: for the initial parameters.

    Raises:
        ValueError: where the key heads do not divide the heads, the strength is out of range, or a
            size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.gated_delta_net_block(5, 2, 3, 7, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, block.init_state(), jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    key_heads = heads if key_heads is None else key_heads
    check_heads("gated_delta_net", heads, key_heads)
    check_beta_max("gated_delta_net", strength)
    check_sizes("gated_delta_net", input_size=input_size, key_size=key_size, value_size=value_size)
    keys = jax.random.split(key, 4)
    values = heads * value_size
    mixed, beside = 2 * key_heads * key_size + values, values + 2 * heads
    core = GatedDeltaCore(
        A_log=log_of_uniform(keys[1], heads, 1.0, 16.0),
        dt_bias=softplus_bias(keys[2], heads, 1e-3, 1e-1),
        scale=jnp.ones(value_size),
        W_o=lecun_normal(keys[3], (input_size, values)),
        key_heads=key_heads,
        key_size=key_size,
        beta_max=strength,
        eps=eps,
    )
    front = ShortFilter(input_size, mixed, beside, width=width, bias=False, key=keys[0])
    return Stack([front, core])
