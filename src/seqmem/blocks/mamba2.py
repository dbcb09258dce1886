"""The block of Mamba-2: a short convolution, and state space duality with its gate and norm."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.ssd import ssd
from .._cells.fast_weights.write import Memory
from .._cells.initialisers import lecun_normal, log_of_uniform, softplus_bias
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from .._core.precision import state_dtype
from .._core.validation import check_divisor, check_heads, check_sizes
from ..layers.stack import Stack
from .short_conv import ShortConv


class Mamba2Core(AbstractFastWeightCell):
    """The second layer of `mamba2_block`, which has its equations.

    Shapes: x is ((hidden + 2 groups · key,), (hidden + heads,)): the filtered v, B and C, and the
    unfiltered z and a. S (groups, heads/groups, value, key).
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    A_log: Float[Array, " heads"]
    dt_bias: Float[Array, " heads"]
    D: Float[Array, " heads"]
    scale: Float[Array, " hidden"]
    W_o: Float[Array, "output hidden"]
    num_groups: int = eqx.field(static=True)
    key_size: int = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def init_state(self):
        num_heads = len(self.D)
        heads = self.num_groups, num_heads // self.num_groups
        sizes = len(self.scale) // num_heads, self.key_size
        return Memory(jnp.zeros((*heads, *sizes), state_dtype(self.W_o)))

    def project(self, x):
        (vBC, za), hidden_size = x, len(self.scale)
        v, B, C = jnp.split(vBC, (hidden_size, hidden_size + self.num_groups * self.key_size))
        z, a = jnp.split(za, (hidden_size,))
        A, delta = (
            leaf.reshape(self.num_groups, -1)
            for leaf in (-jnp.exp(self.A_log), softplus(a + self.dt_bias))
        )
        B, C = (leaf.reshape(self.num_groups, -1) for leaf in (B, C))
        write, v = ssd(delta, A, v.reshape(*delta.shape, -1), B, C)
        return write, (v, z)

    def output(self, reading, extra):
        v, z = extra
        y = reading + self.D.reshape(self.num_groups, -1, 1) * v
        gated = (y.ravel() * silu(z)).reshape(self.num_groups, -1)
        return (self.scale * rms_norm(gated, self.eps).ravel()) @ self.W_o.mT


@makes_layer
def mamba2_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    key_size: int | None = None,
    num_groups: int = 1,
    width: int = 4,
    eps: float = 1e-5,
    key: PRNGKeyArray,
) -> Stack:
    """The block of Mamba-2: state space duality after a short convolution.

        [v; B; C]_t = SiLU(conv(W x)_t),    [z; a]_t = U x_t
        Δ_t = softplus(a_t + dt_bias)                                  of each head
        S_t = exp(−exp(A_log) Δ_t) S_{t−1} + Δ_t v_t B_tᵀ
        h_t = (S_t C_t + D v_t) ∘ SiLU(z_t)
        y_t = W_o (scale ∘ rms_norm(h_t))                              normed over each group

    The gate comes before the norm, where in `gated_delta_net_block` it comes after. The block is a
    cell of two layers: it can be stepped.

    Shapes: x and y (input,), v and z (heads, value), B and C (groups, key), Δ (heads,), scale
    (hidden,), with hidden = heads · value. Cost per step: O(input · (hidden + groups · key)) for
    the projections, none of it sequential, and O(hidden · key) for the memory, sequential from
    chunk to chunk only.
    Source: Dao & Gu 2024, arXiv:2405.21060, section 7; `Mamba2Mixer` of Hugging Face transformers
    5.24.0, whose weights `seqmem.interop.from_mamba2` reads. Differs: Δ is not clamped to a range;
    the initial parameters are those of `seqmem.SSD`.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of v, a multiple of `num_heads`; in the paper twice the input's.
        num_heads: number of heads, > 0.
        key_size: features of B and C of one group, > 0; None: as of the value of one head.
        num_groups: number of groups of heads that share B and C, a divisor of `num_heads`.
        width: taps of the convolution, > 0.
        eps: ε of the norm, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, the groups do not divide the
            heads, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.mamba2_block(5, 6, num_heads=2, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    check_heads("mamba2_block", hidden_size, num_heads)
    check_divisor("mamba2_block", "num_groups", num_groups, "num_heads", num_heads)
    key_size = hidden_size // num_heads if key_size is None else key_size
    check_sizes("mamba2_block", input_size=input_size, key_size=key_size)
    keys = jax.random.split(key, 4)
    core = Mamba2Core(
        A_log=log_of_uniform(keys[1], num_heads, 1.0, 16.0),
        dt_bias=softplus_bias(keys[2], num_heads, 1e-3, 1e-1),
        D=jnp.ones(num_heads),
        scale=jnp.ones(hidden_size),
        W_o=lecun_normal(keys[3], (input_size, hidden_size)),
        num_groups=num_groups,
        key_size=key_size,
        eps=eps,
    )
    vBC_size, za_size = hidden_size + 2 * num_groups * key_size, hidden_size + num_heads
    conv = ShortConv(input_size, vBC_size, za_size, width=width, bias=True, key=keys[0])
    return Stack([conv, core])
