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
from .._core.validation import check_sizes
from ..layers.stack import Stack


class GLACore(AbstractFastWeightCell):
    """The layer of `gla`, which has its equations."""

    cell: GLA
    W_g: Float[Array, "size input"]
    scale: Float[Array, " head"]
    W_o: Float[Array, "output size"]
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
        shown = self.scale * rms_norm(reading, self.eps)
        return (shown.ravel() * silu(extra)) @ self.W_o.mT


def gla_block(
    input_size: int,
    size: int,
    heads: int,
    *,
    key_size: int | None = None,
    rank: int = 16,
    eps: float = 1e-5,
    key: PRNGKeyArray,
) -> Stack:
    """The block of gated linear attention: `seqmem.GLA` with its norm, gate and projection.

        S_t as in `seqmem.GLA`
        y_t = W_o (scale ∘ rms_norm(S_t q_t / √d) ∘ SiLU(W_g x_t))     normed within each head

    It is a cell, of one layer: it steps, and every law holds for it.

    Shapes: x and y (input,), q, k and α (heads, key_size/heads), S (heads, size/heads,
    key_size/heads), scale (size/heads,). Cost per step: O(input · (size + key_size)) and O(size ·
    key_size / heads), of which the latter is done in blocks.
    Source: Yang et al. 2023, arXiv:2312.06635, section 4.4, with the norm and the 1/√d of
    `GatedLinearAttention` in flash-linear-attention at commit bc3b101, whose weights
    `seqmem.interop.from_fla_gla` takes. Differs: the start is that of `seqmem.GLA`.

    Args:
        input_size: entries of one input and of one output, > 0.
        size: entries of all heads' values, shared evenly.
        heads: > 0.
        key_size: entries of all heads' keys; None is half the size, as in the paper.
        rank: of the matrix that makes α, > 0.
        eps: of the norm, > 0.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide a size, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.gla_block(5, 12, 3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, block.init_state(), jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    check_sizes("gla", input_size=input_size, size=size, rank=rank)
    own, gate, out = jax.random.split(key, 3)
    core = GLACore(
        cell=GLA(input_size, size, heads, key_size=key_size, rank=rank, key=own),
        W_g=lecun_normal(gate, (size, input_size)),
        scale=jnp.ones(size // heads),
        W_o=lecun_normal(out, (input_size, size)),
        eps=eps,
    )
    return Stack([core])
