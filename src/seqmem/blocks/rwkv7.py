"""The time mixing of RWKV-7: a token shift, and the generalised delta rule with its norm, bonus and
gate.
"""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._core.calls import makes_layer
from .._core.validation import check_heads, check_sizes
from ..layers.stack import Stack
from .rwkv7_cores import LowRank, RWKV7Core, RWKV7Ranks, RWKV7UpperCore
from .token_shift import Mixed, TokenShift, TokenShiftWithValues


@makes_layer
def rwkv7_block(
    input_size: int,
    *,
    num_heads: int,
    rank: int | RWKV7Ranks = 32,
    eps: float | None = None,
    key_eps: float = 1e-6,
    first_layer: bool = True,
    key: PRNGKeyArray,
) -> Stack:
    """The time mixing of RWKV-7.

        x^c_t = x_t + μ_c ∘ (x_{t−1} − x_t)                            c = r, w, k, v, a, g
        r_t = W_r x^r_t,  k_t = W_k x^k_t,  v_t = W_v x^v_t            of each head
        w_t = W_w tanh(V_w x^w_t) + b_w,  a_t = W_a V_a x^a_t + b_a,  g_t = W_g σ(V_g x^g_t)
        S_t, and the bonus (r_t · (ρ ∘ k̃_t)) v_t, as in `seqmem.RWKV7`
        y_t = W_o ((scale ∘ layer_norm(S_t r_t) + shift + bonus) ∘ g_t)    normed in each head

    Above the first layer of a model, the values are mixed with the first layer's, v¹:

        ν_t = σ(W_ν V_ν x^v_t + b_ν),    v_t = (1 − ν_t) ∘ W_v x^v_t + ν_t ∘ v¹_t

    The input is x_t in the first layer and (x_t, v¹_t) in the others; the output is (y_t, v¹_t) in
    all of them, v¹_t being the first layer's own v_t. The block is a cell of two layers: it can be
    stepped.

    Shapes: x, y and all vectors (input,), S (heads, size, size) with input = heads · size. Cost per
    step: O(input²) for the projections, none of it sequential, and O(input · size) for the memory,
    sequential from chunk to chunk only.
    Source: Peng et al. 2025, arXiv:2503.14456; `RWKV7Attention` of flash-linear-attention at commit
    bc3b101, whose weights `seqmem.interop.from_fla_rwkv7` reads. Differs: the initial parameters
    are those of `seqmem.RWKV7`, μ is ½, b_ν is 0.73 and W_ν is 0; there μ, ξ and the biases vary
    with the channel and the layer.

    Args:
        input_size: features of one input and of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        rank: rank of the matrices that make w, a, g and ν, > 0; `seqmem.blocks.RWKV7Ranks` has one
            for each.
        eps: ε of the norm, > 0; None: 10⁻⁵ times the size of a head.
        key_eps: ε in the length of the keys that are removed, > 0.
        first_layer: whether the block is in the first layer of a model.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the input size, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> first = seqmem.blocks.rwkv7_block(6, num_heads=2, rank=3, key=keys[0])
        >>> second = seqmem.blocks.rwkv7_block(
        ...     6, num_heads=2, rank=3, first_layer=False, key=keys[1]
        ... )
        >>> xs = jax.numpy.ones((11, 6))
        >>> _, (ys, first_values) = seqmem.unroll(first, None, xs)
        >>> _, (zs, _) = seqmem.unroll(second, None, (xs + ys, first_values))
        >>> zs.shape
        (11, 6)
    """
    check_heads("rwkv7_block", input_size, num_heads)
    ranks = rank if isinstance(rank, RWKV7Ranks) else RWKV7Ranks(rank, rank, rank, rank)
    for name, value in ranks._asdict().items():
        check_sizes("rwkv7_block", **{f"{name}_rank": value})
    keys = jax.random.split(key, 5)
    W_r, W_k, W_v, W_o = lecun_normal(keys[0], (4, input_size, input_size))

    def low_rank(key, rank, scale, b):
        V_key, W_key = jax.random.split(key)
        W = scale * lecun_normal(W_key, (input_size, rank))
        return LowRank(lecun_normal(V_key, (rank, input_size)), W, b)

    shift = TokenShift(jnp.full((len(Mixed._fields), input_size), 0.5))
    core = RWKV7Core(
        W_r=W_r,
        W_k=W_k,
        W_v=W_v,
        w=low_rank(keys[1], ranks.w, 0.1, jnp.linspace(-6.0, 1.0, input_size)),
        a=low_rank(keys[2], ranks.a, 0.1, jnp.zeros(input_size)),
        g=low_rank(keys[3], ranks.g, 1.0, None),
        xi=jnp.full(input_size, 0.85),
        alpha=jnp.ones(input_size),
        rho=jnp.zeros(input_size),
        scale=jnp.ones(input_size),
        shift=jnp.zeros(input_size),
        W_o=W_o,
        num_heads=num_heads,
        eps=1e-5 * (input_size // num_heads) if eps is None else eps,
        key_eps=key_eps,
    )
    if first_layer:
        return Stack([shift, core])
    nu = low_rank(keys[4], ranks.nu, 0.0, jnp.full(input_size, 0.73))
    return Stack([TokenShiftWithValues(shift), RWKV7UpperCore(core, nu)])
