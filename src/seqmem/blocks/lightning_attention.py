"""The block of lightning attention: the cell with its norm, gate and projection."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.lightning_attention import LightningAttention
from .._cells.initialisers import lecun_normal
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from ..layers.stack import Stack


class LightningCore(AbstractFastWeightCell):
    """The layer of `lightning_attention_block`, which has its equations."""

    cell: LightningAttention
    W_g: Float[Array, "hidden input"]
    scale: Float[Array, " hidden"]
    W_o: Float[Array, "output hidden"]
    eps: float = eqx.field(static=True)

    @property
    def input_shape(self):
        return self.cell.input_shape

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        write, _ = self.cell.project(x)
        return write, x @ self.W_g.mT

    def output(self, reading, extra):
        normed = self.scale * rms_norm(reading.ravel(), self.eps)
        return (sigmoid(extra) * normed) @ self.W_o.mT


@makes_layer
def lightning_attention_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    layer: int = 0,
    num_layers: int = 1,
    eps: float = 1e-6,
    key: PRNGKeyArray,
) -> Stack:
    """The block of lightning attention: `seqmem.LightningAttention` with norm, gate and projection.

        S_t and q_t as in `seqmem.LightningAttention`
        y_t = W_o (σ(W_g x_t) ∘ scale ∘ rms_norm(S_t q_t))             normed over all heads

    The block is a cell of one layer: it can be stepped.

    Shapes: x and y (input,), q, k and v (heads, size), S (heads, size, size), scale (hidden,), with
    hidden = heads · size. Cost per step: O(input · hidden) for the projections, none of it
    sequential, and O(hidden · size) for the memory, sequential from chunk to chunk only.
    Source: MiniMax 2025 (MiniMax-01), arXiv:2501.08313, as `MiniMaxLightningAttention` of Hugging
    Face transformers 5.24.0 has it, whose weights `seqmem.interop.from_minimax` reads.
    Differs: the initial parameters are those of `seqmem.LightningAttention`.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the values of all heads, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        layer: the layer of the model that the block stands in, from 0.
        num_layers: layers of the model, > `layer`.
        eps: ε of the norm, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, a size is below 1, or the model
            has no such layer.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.lightning_attention_block(
        ...     5, 12, num_heads=3, key=jax.random.key(0)
        ... )
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    cell_key, gate_key, output_key = jax.random.split(key, 3)
    options = {"num_heads": num_heads, "layer": layer, "num_layers": num_layers}
    core = LightningCore(
        cell=LightningAttention(input_size, hidden_size, **options, key=cell_key),
        W_g=lecun_normal(gate_key, (hidden_size, input_size)),
        scale=jnp.ones(hidden_size),
        W_o=lecun_normal(output_key, (input_size, hidden_size)),
        eps=eps,
    )
    return Stack([core])
