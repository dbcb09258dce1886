"""The block of gated linear attention: the cell with its norm, gate and projection."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import silu
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.gla import GLA
from .._cells.initialisers import lecun_normal
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from ..layers.stack import Stack


class GLACore(AbstractFastWeightCell):
    """The layer of `gla_block`, which has its equations."""

    cell: GLA
    W_g: Float[Array, "hidden input"]
    scale: Float[Array, " value"]
    W_o: Float[Array, "output hidden"]
    eps: float = eqx.field(static=True)

    @property
    def input_shape(self):
        return self.cell.input_shape

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        write, _ = self.cell.project(x)
        return write._replace(query=write.query / math.sqrt(write.query.shape[-1])), x @ self.W_g.mT

    def output(self, reading, extra):
        normed = self.scale * rms_norm(reading, self.eps)
        return (normed.ravel() * silu(extra)) @ self.W_o.mT


@makes_layer
def gla_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    key_size: int | None = None,
    rank: int = 16,
    eps: float = 1e-5,
    key: PRNGKeyArray,
) -> Stack:
    """The block of gated linear attention: `seqmem.GLA` with its norm, gate and projection.

        S_t as in `seqmem.GLA`
        y_t = W_o (scale ∘ rms_norm(S_t q_t / √d) ∘ SiLU(W_g x_t))     normed within each head

    d is the key size. The block is a cell of one layer: it can be stepped.

    Shapes: x and y (input,), q, k and α (heads, key), S (heads, value, key), scale (value,), with
    hidden = heads · value. Cost per step: O(input · (hidden + heads · key)) for the projections,
    none of it sequential, and O(hidden · key) for the memory, sequential from chunk to chunk only.
    Source: Yang et al. 2023, arXiv:2312.06635, section 4.4, with the norm and the 1/√d of
    `GatedLinearAttention` in flash-linear-attention at commit bc3b101, whose weights
    `seqmem.interop.from_fla_gla` reads. Differs: the initial parameters are those of `seqmem.GLA`.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the values of all heads, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: half of its value's, as in the paper.
        rank: rank of the matrix that makes α, > 0.
        eps: ε of the norm, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.gla_block(5, 12, num_heads=3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    cell_key, gate_key, output_key = jax.random.split(key, 3)
    sizes = {"num_heads": num_heads, "key_size": key_size, "rank": rank}
    core = GLACore(
        cell=GLA(input_size, hidden_size, **sizes, key=cell_key),
        W_g=lecun_normal(gate_key, (hidden_size, input_size)),
        scale=jnp.ones(hidden_size // num_heads),
        W_o=lecun_normal(output_key, (input_size, hidden_size)),
        eps=eps,
    )
    return Stack([core])
