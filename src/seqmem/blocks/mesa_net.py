"""The block of MesaNet: a short convolution, and the Mesa layer with its norm and projection."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.heads import empty_memory, per_head, unit
from .._cells.fast_weights.mesa_net import LEAST_RIDGE, mesa, mesa_reading
from .._cells.fast_weights.solvers import AbstractSolver, ConjugateGradients, check_solver
from .._cells.initialisers import lecun_normal
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from .._core.validation import check_heads, check_sizes
from ..layers.stack import Stack
from .short_conv import ShortConv


class MesaCore(AbstractFastWeightCell):
    """The second layer of `mesa_net_block`, which has its equations.

    Shapes: x is ((2 keys,), (hidden + 2 heads,)): the filtered q and k, and the unfiltered v, c and
    b. S (heads, key + value, key).
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    b_gamma: Float[Array, " heads"]
    b_beta: Float[Array, " heads"]
    ridge: Float[Array, " keys"]
    scale: Float[Array, " value"]
    W_o: Float[Array, "output hidden"]
    solver: AbstractSolver = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def init_state(self):
        num_heads, value_size = len(self.b_gamma), len(self.scale)
        key_size = len(self.ridge) // num_heads
        return empty_memory(num_heads, key_size + value_size, key_size, self.W_o)

    def project(self, x):
        (qk, vcb), num_heads = x, len(self.b_gamma)
        q, k = (unit(per_head(leaf, num_heads)) for leaf in jnp.split(qk, 2))
        v, c, b = jnp.split(vcb, (len(vcb) - 2 * num_heads, len(vcb) - num_heads))
        beta, log_gamma = sigmoid(b + self.b_beta), log_sigmoid(c + self.b_gamma)
        return mesa(q, k, per_head(v, num_heads), beta, log_gamma), None

    def read(self, memory, query):
        return mesa_reading(memory, query, per_head(self.ridge, len(self.b_gamma)), self.solver)

    def output(self, reading, extra):
        return (self.scale * rms_norm(reading, self.eps)).ravel() @ self.W_o.mT


@makes_layer
def mesa_net_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    key_size: int | None = None,
    width: int = 4,
    solver: AbstractSolver = ConjugateGradients(30),
    eps: float = 1e-5,
    key: PRNGKeyArray,
) -> Stack:
    """The block of MesaNet: the Mesa layer after a short convolution of queries and keys.

        [q; k]_t = SiLU(conv(W x)_t),    [v; c; b]_t = U x_t
        q̃_t = unit(q_t),  k̃_t = unit(k_t)                             of each head
        γ_t = σ(c_t + b_γ),  β_t = σ(b_t + b_β)                        of each head
        H_t = γ_t H_{t−1} + β_t k̃_t k̃_tᵀ,    G_t = γ_t G_{t−1} + β_t v_t k̃_tᵀ
        o_t = G_t (H_t + Λ)⁻¹ q̃_t,    Λ = diag(¼ + softplus(λ))
        y_t = W_o (scale ∘ rms_norm(o_t))                              normed within each head

    The solver and its gradient are those of `seqmem.MesaNet`. The block is a cell of two layers: it
    can be stepped.

    Shapes: x and y (input,), q, k and the diagonal of Λ (heads, key), v (heads, value), γ and β
    (heads,), scale (value,), with hidden = heads · value. Cost per step: O(input · (hidden + heads
    · key)) for the projections, none of it sequential, and O(heads · key · (steps · key + value))
    for the memory, sequential from chunk to chunk only.
    Source: von Oswald et al. 2025, arXiv:2506.05233, of which the abstract was read, in the layer
    `MesaNet` of flash-linear-attention at commit bc3b101, whose weights
    `seqmem.interop.from_fla_mesa_net` reads. Differs: the initial parameters are those of
    `seqmem.MesaNet`; its conjugate gradients add 10⁻⁵ to divisors.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the values of all heads, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        width: taps of the convolution, > 0.
        solver: `seqmem.ConjugateGradients`, `seqmem.Chebyshev` or `seqmem.Exact`.
        eps: ε of the norm, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, a size is below 1, or the solver
            is of another type.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.mesa_net_block(5, 6, num_heads=2, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    owner = "mesa_net_block"
    check_heads(owner, hidden_size, num_heads)
    key_size = hidden_size // num_heads if key_size is None else key_size
    check_sizes(owner, input_size=input_size, key_size=key_size)
    check_solver(owner, solver)
    all_keys = num_heads * key_size
    conv_key, output_key = jax.random.split(key)
    core = MesaCore(
        b_gamma=jnp.full(num_heads, 4.0),
        b_beta=jnp.zeros(num_heads),
        ridge=jnp.full(all_keys, jnp.log(jnp.expm1(1 - LEAST_RIDGE))),
        scale=jnp.ones(hidden_size // num_heads),
        W_o=lecun_normal(output_key, (input_size, hidden_size)),
        solver=solver,
        eps=eps,
    )
    rest = hidden_size + 2 * num_heads
    conv = ShortConv(input_size, 2 * all_keys, rest, width=width, bias=False, key=conv_key)
    return Stack([conv, core])
