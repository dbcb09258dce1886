"""The block of Gated DeltaNet-2: a short convolution, and the delta rule with an erase gate and a
write gate, with its norm and gate.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.delta_rule import check_beta_max
from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.gated_delta_rule_2 import gated_delta_rule_2
from .._cells.fast_weights.heads import unit
from .._cells.fast_weights.write import Memory
from .._cells.initialisers import lecun_normal, log_of_uniform, softplus_bias
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from .._core.precision import state_dtype
from .._core.validation import check_divisor, check_heads, check_sizes
from ..layers.stack import Stack
from .short_conv import ShortConv


class GatedDelta2Core(AbstractFastWeightCell):
    """The second layer of `gated_delta_net_2_block`, which has its equations.

    Shapes: x is ((queries + keys + values,), (2 rank + keys + values,)): the filtered q, k and v,
    and the unfiltered f, z, b and w. S (key_heads, heads/key_heads, value, key).
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    W_f: Float[Array, "keys rank"]
    dt_bias: Float[Array, " keys"]
    A_log: Float[Array, " key_heads"]
    W_g: Float[Array, "values rank"]
    b_g: Float[Array, " values"]
    scale: Float[Array, " value"]
    W_o: Float[Array, "output values"]
    beta_max: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def init_state(self):
        value_size, num_key_heads = len(self.scale), len(self.A_log)
        heads = num_key_heads, len(self.b_g) // value_size // num_key_heads
        key_size = len(self.dt_bias) // num_key_heads
        return Memory(jnp.zeros((*heads, value_size, key_size), state_dtype(self.W_o)))

    def project(self, x):
        (qkv, others), (all_keys, rank) = x, self.W_f.shape
        q, k, v = jnp.split(qkv, (all_keys, 2 * all_keys))
        f, z, b, w = jnp.split(others, (rank, 2 * rank, 2 * rank + all_keys))
        step = softplus(f @ self.W_f.mT + self.dt_bias)
        b, w = self.beta_max * sigmoid(b), sigmoid(w)
        num_key_heads, value_size = len(self.A_log), len(self.scale)
        q, k, b, step = (leaf.reshape(num_key_heads, 1, -1) for leaf in (q, k, b, step))
        v, w = (leaf.reshape(num_key_heads, -1, value_size) for leaf in (v, w))
        log_alpha = -jnp.exp(self.A_log)[:, None, None] * step
        query = unit(q) * q.shape[-1] ** -0.5
        return gated_delta_rule_2(query, unit(k), v, b, w, log_alpha), z @ self.W_g.mT + self.b_g

    def output(self, reading, extra):
        normed = self.scale * rms_norm(reading, self.eps)
        return (normed.ravel() * sigmoid(extra)) @ self.W_o.mT


@makes_layer
def gated_delta_net_2_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    num_key_heads: int | None = None,
    key_size: int | None = None,
    width: int = 4,
    beta_max: float = 1.0,
    eps: float = 1e-5,
    key: PRNGKeyArray,
) -> Stack:
    """The block of Gated DeltaNet-2: `seqmem.GatedDeltaRule2` after a short convolution.

        [q; k; v]_t = SiLU(conv(W x)_t),    [f; z; b̂; ŵ]_t = U x_t
        q̃_t = unit(q_t) / √d,  k̃_t = unit(k_t)                        of each head, d its key size
        ln α_t = −exp(A_log) softplus(W_f f_t + dt_bias),  b_t = beta_max · σ(b̂_t),  w_t = σ(ŵ_t)
        S_t = S_{t−1} diag(α_t) (I − (b_t ∘ k̃_t) k̃_tᵀ) + (w_t ∘ v_t) k̃_tᵀ
        y_t = W_o (scale ∘ rms_norm(S_t q̃_t) ∘ σ(W_g z_t + b_g))       normed within each head

    Consecutive heads of values share one head of queries, keys, decays and erase gates. The block
    is a cell of two layers: it can be stepped.

    Shapes: x and y (input,), v and w (heads, value), q, k, α and b (key_heads, key), f and z
    (value,), A_log (key_heads,), scale (value,), with hidden = heads · value. Cost per step:
    O(input · hidden) for the projections, none of it sequential, and O(hidden · key) for the
    memory, sequential from chunk to chunk only.
    Source: Hatamizadeh, Choi & Kautz 2026, arXiv:2605.22791, as `GatedDeltaNet2` of
    flash-linear-attention at commit bc3b101 has it, whose weights
    `seqmem.interop.from_fla_gated_delta_net_2` reads. Differs: the initial parameters are those of
    `seqmem.GatedDeltaRule2`.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the values of all heads, a multiple of `num_heads`.
        num_heads: number of heads of values, > 0.
        num_key_heads: number of heads of queries and keys, a divisor of `num_heads`; None: as many.
        key_size: features of the key of one head, > 0; None: as of its value.
        width: taps of the convolution, > 0.
        beta_max: largest entry of b, in (0, 2].
        eps: ε of the norm, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, the key heads do not divide the
            heads, beta_max is out of range, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.gated_delta_net_2_block(
        ...     5, 14, num_heads=2, key_size=3, key=jax.random.key(0)
        ... )
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    owner = "gated_delta_net_2_block"
    check_heads(owner, hidden_size, num_heads)
    num_key_heads = num_heads if num_key_heads is None else num_key_heads
    check_divisor(owner, "num_key_heads", num_key_heads, "num_heads", num_heads)
    value_size = hidden_size // num_heads
    key_size = value_size if key_size is None else key_size
    check_sizes(owner, input_size=input_size, key_size=key_size)
    check_beta_max(owner, beta_max)
    all_keys = num_key_heads * key_size
    keys = jax.random.split(key, 6)
    core = GatedDelta2Core(
        W_f=lecun_normal(keys[1], (all_keys, value_size)),
        dt_bias=softplus_bias(keys[2], all_keys, 1e-3, 1e-1),
        A_log=log_of_uniform(keys[3], num_key_heads, 1.0, 16.0),
        W_g=lecun_normal(keys[4], (hidden_size, value_size)),
        b_g=jnp.zeros(hidden_size),
        scale=jnp.ones(value_size),
        W_o=lecun_normal(keys[5], (input_size, hidden_size)),
        beta_max=beta_max,
        eps=eps,
    )
    qkv_size = 2 * all_keys + hidden_size
    others_size = 2 * value_size + all_keys + hidden_size
    conv = ShortConv(input_size, qkv_size, others_size, width=width, bias=False, key=keys[0])
    return Stack([conv, core])
