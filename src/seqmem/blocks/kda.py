"""The block of Kimi delta attention: a short convolution, and the delta rule with a decay per key
channel, its norm and gate.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.delta_rule import check_beta_max
from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.gated_delta_rule import gated_delta_rule
from .._cells.fast_weights.heads import empty_memory, per_head, unit
from .._cells.initialisers import lecun_normal, log_of_uniform, softplus_bias
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from .._core.validation import check_heads, check_sizes
from ..layers.stack import Stack
from .short_conv import ShortConv


class AbstractKDACore(AbstractFastWeightCell):
    """What the last layers of `kda_block` and `preconditioned_kda_block` share: the parameters of
    decays, norm and gate.
    """

    W_f: Float[Array, "keys rank"]
    dt_bias: Float[Array, " keys"]
    A_log: Float[Array, " heads"]
    W_g: Float[Array, "values rank"]
    b_g: Float[Array, " values"]
    scale: Float[Array, " value"]
    W_o: Float[Array, "output values"]
    beta_max: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def init_state(self):
        num_heads = len(self.A_log)
        key_size = len(self.dt_bias) // num_heads
        return empty_memory(num_heads, len(self.scale), key_size, self.W_o)

    def gates(self, others: Float[Array, " others"]) -> tuple[Array, Array, Array]:
        """β (heads, 1), ln α (heads, key) and W_g z + b_g (values,), of [f; z; β̂]."""
        rank = self.W_f.shape[1]
        f, z, beta = jnp.split(others, (rank, 2 * rank))
        step = per_head(softplus(f @ self.W_f.mT + self.dt_bias), len(self.A_log))
        log_alpha = -jnp.exp(self.A_log)[:, None] * step
        return self.beta_max * sigmoid(beta)[:, None], log_alpha, z @ self.W_g.mT + self.b_g

    def output(self, reading, extra):
        normed = self.scale * rms_norm(reading, self.eps)
        return (normed.ravel() * sigmoid(extra)) @ self.W_o.mT


class KDACore(AbstractKDACore):
    """The second layer of `kda_block`, which has its equations.

    Shapes: x is ((queries + keys + values,), (2 value + heads,)): the filtered q, k and v, and the
    unfiltered f, z and β̂. S (heads, value, key).
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    def project(self, x):
        (qkv, others), all_keys = x, len(self.dt_bias)
        q, k, v = jnp.split(qkv, (all_keys, 2 * all_keys))
        q, k, v = (per_head(leaf, len(self.A_log)) for leaf in (q, k, v))
        beta, log_alpha, gate = self.gates(others)
        write = gated_delta_rule(unit(q) * q.shape[-1] ** -0.5, unit(k), v, beta, log_alpha)
        return write, gate


@makes_layer
def kda_block(
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
    """The block of Kimi delta attention: the delta rule with a decay per key channel, after a short
    convolution.

        [q; k; v]_t = SiLU(conv(W x)_t),    [f; z; β̂]_t = U x_t
        q̃_t = unit(q_t) / √d,  k̃_t = unit(k_t)                        of each head, d its key size
        ln α_t = −exp(A_log) softplus(W_f f_t + dt_bias)               of each key channel
        β_t = beta_max · σ(β̂_t)
        S_t = S_{t−1} diag(α_t) (I − β_t k̃_t k̃_tᵀ) + β_t v_t k̃_tᵀ
        y_t = W_o (scale ∘ rms_norm(S_t q̃_t) ∘ σ(W_g z_t + b_g))       normed within each head

    The block is a cell of two layers: it can be stepped.

    Shapes: x and y (input,), q, k and α (heads, key), v (heads, value), f and z (value,), β
    (heads,), scale (value,), with hidden = heads · value. Cost per step: O(input · hidden) for the
    projections, none of it sequential, and O(hidden · key) for the memory, sequential from chunk to
    chunk only.
    Source: Kimi Team 2025, arXiv:2510.26692, in the block of `KimiDeltaAttention` in
    flash-linear-attention at commit bc3b101, whose weights `seqmem.interop.from_fla_kda` reads.
    Differs: none.

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
        >>> block = seqmem.blocks.kda_block(5, 14, num_heads=2, key_size=3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    owner = "kda_block"
    check_heads(owner, hidden_size, num_heads)
    value_size = hidden_size // num_heads
    key_size = value_size if key_size is None else key_size
    check_sizes(owner, input_size=input_size, key_size=key_size)
    check_beta_max(owner, beta_max)
    all_keys = num_heads * key_size
    keys = jax.random.split(key, 6)
    core = KDACore(
        W_f=lecun_normal(keys[1], (all_keys, value_size)),
        dt_bias=softplus_bias(keys[2], all_keys, 1e-3, 1e-1),
        A_log=log_of_uniform(keys[3], num_heads, 1.0, 16.0),
        W_g=lecun_normal(keys[4], (hidden_size, value_size)),
        b_g=jnp.zeros(hidden_size),
        scale=jnp.ones(value_size),
        W_o=lecun_normal(keys[5], (input_size, hidden_size)),
        beta_max=beta_max,
        eps=eps,
    )
    qkv_size, others_size = 2 * all_keys + hidden_size, 2 * value_size + num_heads
    conv = ShortConv(input_size, qkv_size, others_size, width=width, bias=False, key=keys[0])
    return Stack([conv, core])
