"""The time mixing of RWKV-7: a shift by one step, and the generalised delta rule with its norm,
bonus and gate.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell, Write
from .._cells.fast_weights.heads import check_heads, empty_memory, per_head
from .._cells.fast_weights.rwkv7 import rwkv7 as generalised_delta_rule
from .._cells.initialisers import lecun_normal
from .._cells.normalisation import layer_norm
from .._core.validation import check_sizes
from ..layers.stack import Stack
from .token_shift import Mixed, TokenShift


class LowRank(eqx.Module):
    """x ↦ W f(V x) + b, through few entries."""

    V: Float[Array, "rank input"]
    W: Float[Array, "size rank"]
    b: Float[Array, " size"] | None

    def __call__(self, x: Float[Array, " input"], f: Any = lambda x: x) -> Float[Array, " size"]:
        y = f(x @ self.V.mT) @ self.W.mT
        return y if self.b is None else y + self.b


class RWKV7Core(AbstractFastWeightCell):
    """The second layer of `rwkv7`, which has its equations."""

    input_shape: ClassVar[Any] = Mixed._make([(None,)] * 6)

    W_r: Float[Array, "size input"]
    W_k: Float[Array, "size input"]
    W_v: Float[Array, "size input"]
    w: LowRank
    a: LowRank
    g: LowRank
    xi: Float[Array, " size"]
    alpha: Float[Array, " size"]
    rho: Float[Array, " size"]
    scale: Float[Array, " size"]
    shift: Float[Array, " size"]
    W_o: Float[Array, "output size"]
    heads: int = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def init_state(self):
        size = len(self.xi) // self.heads
        return empty_memory(self.heads, size, size, self.W_o)

    def drive(self, x: Mixed, v: Array, first: Array) -> tuple[Write, Any]:
        """What `project` returns for values v, with those of the first layer handed on."""
        r, k = x.r @ self.W_r.mT, x.k @ self.W_k.mT
        w, a = self.w(x.w, jnp.tanh), self.a(x.a)
        drive = r, k, v, w, a, self.xi, self.alpha, self.rho
        write, bonus = generalised_delta_rule(*(per_head(leaf, self.heads) for leaf in drive))
        return write, (bonus, self.g(x.g, sigmoid), first)

    def project(self, x):
        v = x.v @ self.W_v.mT
        return self.drive(x, v, v)

    def output(self, reading, extra):
        bonus, gate, first = extra
        shown = self.scale * layer_norm(reading, self.eps).ravel() + self.shift
        return ((shown + bonus.ravel()) * gate) @ self.W_o.mT, first


def rwkv7_block(
    input_size: int,
    heads: int,
    *,
    rank: int = 32,
    eps: float | None = None,
    key: PRNGKeyArray,
) -> Stack:
    """The time mixing of RWKV-7 in the first layer of a model; for the others, `rwkv7_upper_block`.

        x^c_t = x_t + μ_c ∘ (x_{t−1} − x_t)                            c = r, w, k, v, a, g
        r_t = W_r x^r_t,  k_t = W_k x^k_t,  v_t = W_v x^v_t            of each head
        w_t = W_w tanh(V_w x^w_t) + b_w,  a_t = W_a V_a x^a_t + b_a,  g_t = W_g σ(V_g x^g_t)
        S_t, and the bonus (r_t · (ρ ∘ k̃_t)) v_t, as in `seqmem.RWKV7`
        y_t = W_o ((scale ∘ layer_norm(S_t r_t) + shift + bonus) ∘ g_t)    normed in each head

    It is a cell, of two layers: it steps, and every law holds for it. It shows (y_t, v_t), since
    the layers above want the values.

    Shapes: x and y (input,), all vectors (input,), S (heads, input/heads, input/heads). Cost per
    step: O(input²) and O(input² / heads), of which the latter is done in blocks.
    Source: Peng et al. 2025, arXiv:2503.14456; `RWKV7Attention` of flash-linear-attention at commit
    bc3b101, whose weights `seqmem.interop.from_fla_rwkv7` takes. Differs: the start is that of
    `seqmem.RWKV7`, and μ is ½; there μ, ξ and the biases vary with the channel and the layer.

    Args:
        input_size: entries of one input and of one output, shared evenly by the heads.
        heads: > 0.
        rank: of the matrices that make w, a and g, > 0.
        eps: of the norm, > 0; None is 10⁻⁵ times the size of a head.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the input, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> low, high = jax.random.split(jax.random.key(0))
        >>> first = seqmem.blocks.rwkv7_block(6, 2, rank=3, key=low)
        >>> second = seqmem.blocks.rwkv7_upper_block(6, 2, rank=3, key=high)
        >>> xs = jax.numpy.ones((11, 6))
        >>> _, (ys, values) = seqmem.unroll(first, first.init_state(), xs)
        >>> _, (zs, _) = seqmem.unroll(second, second.init_state(), (xs + ys, values))
        >>> zs.shape
        (11, 6)
    """
    return Stack(shift_and_core("rwkv7", input_size, heads, rank, eps, key))


def shift_and_core(
    name: str, input_size: int, heads: int, rank: int, eps: float | None, key: PRNGKeyArray
) -> tuple[TokenShift, RWKV7Core]:
    """The two layers of `rwkv7`, for whoever is called so."""
    check_heads(name, input_size, heads)
    check_sizes(name, input_size=input_size, rank=rank)
    keys = jax.random.split(key, 4)
    W_r, W_k, W_v, W_o = lecun_normal(keys[0], (4, input_size, input_size))
    V_w, V_a, V_g = lecun_normal(keys[1], (3, rank, input_size))
    W_w, W_a = 0.1 * lecun_normal(keys[2], (2, input_size, rank))
    core = RWKV7Core(
        W_r=W_r,
        W_k=W_k,
        W_v=W_v,
        w=LowRank(V_w, W_w, jnp.linspace(-6.0, 1.0, input_size)),
        a=LowRank(V_a, W_a, jnp.zeros(input_size)),
        g=LowRank(V_g, lecun_normal(keys[3], (input_size, rank)), None),
        xi=jnp.full(input_size, 0.85),
        alpha=jnp.ones(input_size),
        rho=jnp.zeros(input_size),
        scale=jnp.ones(input_size),
        shift=jnp.zeros(input_size),
        W_o=W_o,
        heads=heads,
        eps=1e-5 * (input_size // heads) if eps is None else eps,
    )
    return TokenShift(jnp.full((len(Mixed._fields), input_size), 0.5)), core
