"""The time mixing of RWKV-7: a token shift, and the generalised delta rule with its norm, bonus and
gate.
"""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._core.validation import check_heads, check_sizes
from ..layers.stack import Stack
from .rwkv7_cores import LowRank, RWKV7Core, RWKV7UpperCore
from .token_shift import Mixed, TokenShift, TokenShiftWithValues


def rwkv7_block(
    input_size: int,
    *,
    num_heads: int,
    rank: int = 32,
    eps: float | None = None,
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
        rank: rank of the matrices that make w, a, g and ν, > 0.
        eps: ε of the norm, > 0; None: 10⁻⁵ times the size of a head.
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
    check_sizes("rwkv7_block", rank=rank)
    keys = jax.random.split(key, 5)
    W_r, W_k, W_v, W_o = lecun_normal(keys[0], (4, input_size, input_size))
    V_w, V_a, V_g = lecun_normal(keys[1], (3, rank, input_size))
    W_w, W_a = 0.1 * lecun_normal(keys[2], (2, input_size, rank))
    shift = TokenShift(jnp.full((len(Mixed._fields), input_size), 0.5))
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
        num_heads=num_heads,
        eps=1e-5 * (input_size // num_heads) if eps is None else eps,
    )
    if first_layer:
        return Stack([shift, core])
    V_nu, W_nu = lecun_normal(keys[4], (rank, input_size)), jnp.zeros((input_size, rank))
    nu = LowRank(V_nu, W_nu, jnp.full(input_size, 0.73))
    return Stack([TokenShiftWithValues(shift), RWKV7UpperCore(core, nu)])
