"""The time mixing of RWKV-6: a token shift that depends on the input, and a memory that is read
before it is written, with its norm and gate.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import silu
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.heads import per_head
from .._cells.fast_weights.rwkv6 import receptance
from .._cells.fast_weights.write import Memory
from .._cells.initialisers import lecun_normal
from .._cells.normalisation import layer_norm
from .._core.calls import makes_layer
from .._core.precision import state_dtype
from .._core.validation import check_heads, check_sizes
from ..layers.stack import Stack
from .token_shift import DynamicallyMixed, DynamicTokenShift


class RWKV6Core(AbstractFastWeightCell):
    """The second layer of `rwkv6_block`, which has its equations."""

    input_shape: ClassVar[Any] = DynamicallyMixed._make([(None,)] * 5)

    W_r: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    W_g: Float[Array, "hidden input"]
    w_0: Float[Array, " keys"]
    V_w: Float[Array, "rank input"]
    W_w: Float[Array, "keys rank"]
    u: Float[Array, "heads key"]
    scale: Float[Array, " hidden"]
    shift: Float[Array, " hidden"]
    W_o: Float[Array, "output hidden"]
    eps: float = eqx.field(static=True)

    def init_state(self):
        num_heads, key_size = self.u.shape
        value_size = len(self.scale) // num_heads
        return Memory(jnp.zeros((num_heads, value_size, key_size + 1), state_dtype(self.W_o)))

    def project(self, x):
        r, k, v, gate = x.r @ self.W_r.mT, x.k @ self.W_k.mT, x.v @ self.W_v.mT, x.g @ self.W_g.mT
        w = self.w_0 + jnp.tanh(x.w @ self.V_w.mT) @ self.W_w.mT
        write, bonus = receptance(*(per_head(leaf, len(self.u)) for leaf in (r, k, v, w, self.u)))
        return write, (bonus, gate)

    def output(self, reading, extra):
        bonus, gate = extra
        normed = self.scale * layer_norm(reading + bonus, self.eps).ravel() + self.shift
        return (normed * silu(gate)) @ self.W_o.mT


@makes_layer
def rwkv6_block(
    input_size: int,
    hidden_size: int | None = None,
    *,
    num_heads: int,
    key_size: int | None = None,
    mix_rank: int = 32,
    rank: int = 64,
    eps: float = 1e-5,
    key: PRNGKeyArray,
) -> Stack:
    """The time mixing of RWKV-6.

        δ_t = x_{t−1} − x_t,    z^c_t = tanh(V^c (x_t + μ ∘ δ_t))      c = r, w, k, v, g
        x^c_t = x_t + (μ^c + W^c z^c_t) ∘ δ_t
        r_t = W_r x^r_t,  k_t = W_k x^k_t,  v_t = W_v x^v_t,  g_t = W_g x^g_t
        ln w_t = −exp(w_0 + W_w tanh(V_w x^w_t))
        S_t = S_{t−1} diag(w_t) + v_t k_tᵀ,    ŷ_t = (S_{t−1} + v_t (u ∘ k_t)ᵀ) r_t
        y_t = W_o ((scale ∘ layer_norm(ŷ_t) + shift) ∘ SiLU(g_t))      normed within each head

    The block is a cell of two layers: it can be stepped.

    Shapes: x and y (input,), r, k, w and u (heads, key), v and g (heads, value), S (heads, value,
    key), with hidden = heads · value. Cost per step: O(input · hidden) for the projections, none of
    it sequential, and O(hidden · key) for the memory, sequential from chunk to chunk only.
    Source: Peng et al. 2024 (Finch), arXiv:2404.05892, as `RWKV6Attention` of
    flash-linear-attention at commit bc3b101 has it, whose weights `seqmem.interop.from_fla_rwkv6`
    reads. Differs: the initial parameters are those of `seqmem.RWKV6`, and all μ are ½; in the
    authors' code, RWKV-LM, they vary with the channel and the layer, and ε is 64 times as large.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the values of all heads, a multiple of `num_heads`; None: as of the
            input.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        mix_rank: rank of the matrices W^c V^c, > 0.
        rank: rank of the matrix W_w V_w, > 0.
        eps: ε of the norm, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.rwkv6_block(6, num_heads=2, rank=3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 6)))
        >>> ys.shape
        (11, 6)
    """
    hidden_size = input_size if hidden_size is None else hidden_size
    check_heads("rwkv6_block", hidden_size, num_heads)
    key_size = hidden_size // num_heads if key_size is None else key_size
    sizes = {"input_size": input_size, "key_size": key_size, "mix_rank": mix_rank, "rank": rank}
    check_sizes("rwkv6_block", **sizes)
    all_keys, uses = num_heads * key_size, len(DynamicallyMixed._fields)
    keys = jax.random.split(key, 7)
    W_r, W_k = lecun_normal(keys[0], (2, all_keys, input_size))
    W_v, W_g = lecun_normal(keys[1], (2, hidden_size, input_size))
    shift = DynamicTokenShift(
        mu=jnp.full(input_size, 0.5),
        V=lecun_normal(keys[2], (uses, mix_rank, input_size)),
        W=0.1 * lecun_normal(keys[3], (uses, input_size, mix_rank)),
        mu_of_use=jnp.full((uses, input_size), 0.5),
    )
    core = RWKV6Core(
        W_r=W_r,
        W_k=W_k,
        W_v=W_v,
        W_g=W_g,
        w_0=jnp.linspace(-6.0, -1.0, all_keys),
        V_w=lecun_normal(keys[4], (rank, input_size)),
        W_w=0.1 * lecun_normal(keys[5], (all_keys, rank)),
        u=jnp.zeros((num_heads, key_size)),
        scale=jnp.ones(hidden_size),
        shift=jnp.zeros(hidden_size),
        W_o=lecun_normal(keys[6], (input_size, hidden_size)),
        eps=eps,
    )
    return Stack([shift, core])
