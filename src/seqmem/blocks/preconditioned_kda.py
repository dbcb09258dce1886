"""The block of the preconditioned KDA: Kimi delta attention with a memory of squared keys in
front.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from .._cells.fast_weights.delta_rule import check_beta_max
from .._cells.initialisers import lecun_normal, log_of_uniform, softplus_bias
from .._core.calls import makes_layer
from .._core.validation import check_heads, check_sizes
from ..layers.stack import Stack
from .kda import AbstractKDACore
from .preconditioned import KeyCurvature, PreconditionedInput, preconditioned_delta_rule
from .short_conv import ShortConv


class PreconditionedKDACore(AbstractKDACore):
    """The third layer of `preconditioned_kda_block`, which has its equations."""

    input_shape: ClassVar[Any] = PreconditionedInput._make([(None, None)] * 4 + [(None,)])

    def project(self, x):
        beta, log_alpha, gate = self.gates(x.others)
        return preconditioned_delta_rule(x, beta, log_alpha), gate


@makes_layer
def preconditioned_kda_block(
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
    """The block of the preconditioned KDA: a decay per key channel, and keys that are written
    larger where few were written before.

        [q; k; v]_t = SiLU(conv(W x)_t),    [γ̂; â; f; z; β̂]_t = U x_t
        k̃_t, q̃_t, A_t and p_t as in `preconditioned_gated_delta_net_block`
        ln α_t = −exp(A_log) softplus(W_f f_t + dt_bias)               of each key channel
        β_t = beta_max · σ(β̂_t)
        S_t = S_{t−1} diag(α_t) (I − β_t k̃_t p_tᵀ) + β_t v_t p_tᵀ
        y_t = W_o (scale ∘ rms_norm(S_t q̃_t) ∘ σ(W_g z_t + b_g))       normed within each head

    The block is a cell of three layers: it can be stepped.

    Shapes: x and y (input,), q, k, p, α and A (heads, key), v (heads, value), f and z (value,), β
    and all that makes A (heads,), scale (value,), with hidden = heads · value. Cost per step:
    O(input · hidden) for the projections, none of it sequential, O(heads · key) for A, and
    O(hidden · key) for the memory, sequential from chunk to chunk only.
    Source: Tumma, Loo & Rus 2026, arXiv:2604.21100; its equations were not read in the paper but in
    `PrecondKDA` and ops/precond_kda of flash-linear-attention at commit bc3b101, whose weights
    `seqmem.interop.from_fla_preconditioned_kda` reads. Differs: dt_bias of α starts as in
    `seqmem.KDA`, there at 0.

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
        >>> block = seqmem.blocks.preconditioned_kda_block(
        ...     5, 14, num_heads=2, key_size=3, key=jax.random.key(0)
        ... )
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    owner = "preconditioned_kda_block"
    check_heads(owner, hidden_size, num_heads)
    value_size = hidden_size // num_heads
    key_size = value_size if key_size is None else key_size
    check_sizes(owner, input_size=input_size, key_size=key_size)
    check_beta_max(owner, beta_max)
    all_keys = num_heads * key_size
    keys = jax.random.split(key, 8)
    curvature = KeyCurvature(
        A_log=log_of_uniform(keys[1], num_heads, 1.0, 16.0),
        dt_bias=softplus_bias(keys[2], num_heads, 1e-3, 1e-1),
        center=jnp.full(num_heads, -0.2),
        key_size=key_size,
    )
    core = PreconditionedKDACore(
        W_f=lecun_normal(keys[3], (all_keys, value_size)),
        dt_bias=softplus_bias(keys[4], all_keys, 1e-3, 1e-1),
        A_log=log_of_uniform(keys[5], num_heads, 1.0, 16.0),
        W_g=lecun_normal(keys[6], (hidden_size, value_size)),
        b_g=jnp.zeros(hidden_size),
        scale=jnp.ones(value_size),
        W_o=lecun_normal(keys[7], (input_size, hidden_size)),
        beta_max=beta_max,
        eps=eps,
    )
    qkv_size = 2 * all_keys + hidden_size
    others_size = 2 * value_size + 3 * num_heads
    conv = ShortConv(input_size, qkv_size, others_size, width=width, bias=False, key=keys[0])
    return Stack([conv, curvature, core])
