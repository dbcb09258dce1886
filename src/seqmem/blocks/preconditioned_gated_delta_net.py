"""The block of the preconditioned Gated DeltaNet: the gated delta rule with a memory of squared
keys in front.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.delta_rule import check_beta_max
from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.heads import empty_memory
from .._cells.initialisers import lecun_normal, log_of_uniform, softplus_bias
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from .._core.validation import check_heads, check_sizes
from ..layers.stack import Stack
from .preconditioned import KeyCurvature, PreconditionedInput, preconditioned_delta_rule
from .short_conv import ShortConv


class PreconditionedGatedDeltaCore(AbstractFastWeightCell):
    """The third layer of `preconditioned_gated_delta_net_block`, which has its equations."""

    input_shape: ClassVar[Any] = PreconditionedInput._make([(None, None)] * 4 + [(None,)])

    A_log: Float[Array, " heads"]
    dt_bias: Float[Array, " heads"]
    scale: Float[Array, " value"]
    W_o: Float[Array, "output values"]
    key_size: int = eqx.field(static=True)
    beta_max: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def init_state(self):
        return empty_memory(len(self.A_log), len(self.scale), self.key_size, self.W_o)

    def project(self, x):
        values, num_heads = self.W_o.shape[1], len(self.A_log)
        z, beta, a = jnp.split(x.others, (values, values + num_heads))
        beta = self.beta_max * sigmoid(beta)[:, None]
        log_alpha = -jnp.exp(self.A_log) * softplus(a + self.dt_bias)
        return preconditioned_delta_rule(x, beta, log_alpha[:, None]), z

    def output(self, reading, extra):
        normed = self.scale * rms_norm(reading, self.eps)
        return (normed.ravel() * silu(extra)) @ self.W_o.mT


@makes_layer
def preconditioned_gated_delta_net_block(
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
    """The block of the preconditioned Gated DeltaNet: keys are written larger where few were
    written before, as a diagonal approximation of least squares asks for.

        [q; k; v]_t = SiLU(conv(W x)_t),    [γ̂; â; z; β̂; a]_t = U x_t
        k̃_t = unit(k_t),  q̃_t = unit(q_t) / √n                        of each head, n its key size
        A_t = exp(−exp(A_log) softplus(â_t + dt_bias)) A_{t−1} + σ(γ̂_t) k̃_t ∘ k̃_t
        ρ_t = ln(A_t + 10⁻⁶) − center,    p_t = 1.5^(−ρ_t / (1 + |ρ_t|)) ∘ k̃_t
        ln α_t = −exp(A_log') softplus(a_t + dt_bias'),    β_t = beta_max · σ(β̂_t)
        S_t = S_{t−1} α_t (I − β_t k̃_t p_tᵀ) + β_t v_t p_tᵀ
        y_t = W_o (scale ∘ rms_norm(S_t q̃_t) ∘ SiLU(z_t))             normed within each head

    The block is a cell of three layers: it can be stepped, and `LayerByLayer` runs each by the
    method of its family: a convolution, a diagonal recurrence of A, and fast weights.

    Shapes: x and y (input,), q, k, p and A (heads, key), v and z (heads, value), α, β and all that
    makes A (heads,), scale (value,), with hidden = heads · value. Cost per step: O(input · hidden)
    for the projections, none of it sequential, O(heads · key) for A, and O(hidden · key) for the
    memory, sequential from chunk to chunk only.
    Source: Tumma, Loo & Rus 2026, arXiv:2604.21100; its equations were not read in the paper but in
    `PrecondGatedDeltaNet` and ops/precond_gated_delta_rule of flash-linear-attention at commit
    bc3b101, whose weights `seqmem.interop.from_fla_preconditioned_gated_delta_net` reads. Differs:
    A_log' starts as in `seqmem.GatedDeltaRule`, and A_log like it.

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
        >>> block = seqmem.blocks.preconditioned_gated_delta_net_block(
        ...     5, 14, num_heads=2, key_size=3, key=jax.random.key(0)
        ... )
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    owner = "preconditioned_gated_delta_net_block"
    check_heads(owner, hidden_size, num_heads)
    value_size = hidden_size // num_heads
    key_size = value_size if key_size is None else key_size
    check_sizes(owner, input_size=input_size, key_size=key_size)
    check_beta_max(owner, beta_max)
    keys = jax.random.split(key, 6)
    curvature = KeyCurvature(
        A_log=log_of_uniform(keys[1], num_heads, 1.0, 16.0),
        dt_bias=softplus_bias(keys[2], num_heads, 1e-3, 1e-1),
        center=jnp.full(num_heads, -0.2),
        key_size=key_size,
    )
    core = PreconditionedGatedDeltaCore(
        A_log=log_of_uniform(keys[3], num_heads, 1.0, 16.0),
        dt_bias=softplus_bias(keys[4], num_heads, 1e-3, 1e-1),
        scale=jnp.ones(value_size),
        W_o=lecun_normal(keys[5], (input_size, hidden_size)),
        key_size=key_size,
        beta_max=beta_max,
        eps=eps,
    )
    qkv_size = 2 * num_heads * key_size + hidden_size
    others_size = hidden_size + 4 * num_heads
    conv = ShortConv(input_size, qkv_size, others_size, width=width, bias=False, key=keys[0])
    return Stack([conv, curvature, core])
