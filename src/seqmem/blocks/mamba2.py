"""The block of Mamba-2: a short filter, and state space duality with its gate and norm."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell, Memory
from .._cells.fast_weights.heads import check_heads
from .._cells.fast_weights.ssd import ssd
from .._cells.initialisers import lecun_normal, log_of_uniform, softplus_bias
from .._cells.normalisation import rms_norm
from .._core.precision import state_dtype
from .._core.validation import check_sizes
from ..layers.stack import Stack
from .short_conv import ShortFilter


class Mamba2Core(AbstractFastWeightCell):
    """The second layer of `mamba2`, which has its equations.

    Shapes: x is ((size + 2 groups · state,), (size + heads,)): what the filter shows, and z and a.
    S (groups, heads/groups, size/heads, state).
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    A_log: Float[Array, " heads"]
    dt_bias: Float[Array, " heads"]
    D: Float[Array, " heads"]
    scale: Float[Array, " size"]
    W_o: Float[Array, "output size"]
    groups: int = eqx.field(static=True)
    state_size: int = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def init_state(self):
        heads = len(self.D)
        shape = len(self.scale) // heads, self.state_size
        return Memory(jnp.zeros((self.groups, heads // self.groups, *shape), state_dtype(self.W_o)))

    def project(self, x):
        (mixed, beside), size = x, len(self.scale)
        v, B, C = jnp.split(mixed, (size, size + self.groups * self.state_size))
        z, a = jnp.split(beside, (size,))
        A, delta = (
            leaf.reshape(self.groups, -1)
            for leaf in (-jnp.exp(self.A_log), softplus(a + self.dt_bias))
        )
        B, C = (leaf.reshape(self.groups, -1) for leaf in (B, C))
        write, v = ssd(delta, A, v.reshape(*delta.shape, -1), B, C)
        return write, (v, z)

    def output(self, reading, extra):
        v, z = extra
        y = reading + self.D.reshape(self.groups, -1, 1) * v
        gated = (y.ravel() * silu(z)).reshape(self.groups, -1)
        return (self.scale * rms_norm(gated, self.eps).ravel()) @ self.W_o.mT


def mamba2_block(
    input_size: int,
    size: int,
    heads: int,
    state_size: int,
    *,
    groups: int = 1,
    width: int = 4,
    eps: float = 1e-5,
    key: PRNGKeyArray,
) -> Stack:
    """The block of Mamba-2: state space duality behind a short filter.

        [v; B; C]_t = SiLU(conv(W x)_t),    [z; a]_t = U x_t
        Δ_t = softplus(a_t + dt_bias)                                  of each head
        S_t = exp(−exp(A_log) Δ_t) S_{t−1} + Δ_t v_t B_tᵀ
        h_t = (S_t C_t + D v_t) ∘ SiLU(z_t)
        y_t = W_o (scale ∘ rms_norm(h_t))                              normed over each group

    It is a cell, of two layers: it steps, and every law holds for it. Here the gate comes before
    the norm; in `gated_delta_net` it comes behind.

    Shapes: x and y (input,), v and z (size,), B and C (groups, state_size), Δ (heads,). Cost per
    step: O(input · size) and O(size · state_size), of which the latter is done in blocks.
    Source: Dao & Gu 2024, arXiv:2405.21060, section 7; `Mamba2Mixer` of Hugging Face transformers
    5.24.0, whose weights `seqmem.interop.from_mamba2` takes. Differs: Δ is not clamped to a range;
    the start is that of `seqmem.SSD`.

    Args:
        input_size: entries of one input and of one output, > 0.
        size: entries of v, shared evenly by the heads; in the paper twice the input's.
        heads: > 0.
        state_size: entries of B and C, > 0.
        groups: of heads that share B and C, a divisor of `heads`.
        width: taps of the convolution, > 0.
        eps: of the norm, > 0.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the size or the groups the heads, or a size is
            below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.mamba2_block(5, 6, 2, 3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, block.init_state(), jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    check_heads("mamba2", size, heads)
    check_heads("mamba2's groups", heads, groups)
    check_sizes("mamba2", input_size=input_size, size=size, state_size=state_size)
    keys = jax.random.split(key, 4)
    mixed, beside = size + 2 * groups * state_size, size + heads
    core = Mamba2Core(
        A_log=log_of_uniform(keys[1], heads, 1.0, 16.0),
        dt_bias=softplus_bias(keys[2], heads, 1e-3, 1e-1),
        D=jnp.ones(heads),
        scale=jnp.ones(size),
        W_o=lecun_normal(keys[3], (input_size, size)),
        groups=groups,
        state_size=state_size,
        eps=eps,
    )
    front = ShortFilter(input_size, mixed, beside, width=width, bias=True, key=keys[0])
    return Stack([front, core])
