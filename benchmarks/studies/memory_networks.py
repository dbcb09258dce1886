"""The networks in which `memory_tasks` trains memories that are matrices, and oscillators.

Tokens come as one-hot vectors, and get an embedding of normal entries first, as in the papers. Of
one-hot vectors the cell's own weights, of variance 1/64, make entries of 1/8, and SiLU of these a
sixteenth: values and readings are too small for recall to be learned in 800 iterations.
"""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float, PRNGKeyArray

import seqmem
from seqmem.layers import LayerByLayer, Map, Residual, RMSNorm, Stack

NUM_HEADS = 2
TAPS = 4  # of the short convolutions
CHUNKS = seqmem.Parallel(chunk_size=8)  # shorter than by default: sequences and keys are small


class Linear(seqmem.AbstractPointwiseCell):
    """y_t = W x_t; for one-hot vectors the embedding of their tokens."""

    W: Float[Array, "output input"]

    def __init__(self, input_size: int, output_size: int, scale: float, *, key: PRNGKeyArray):
        self.W = scale * jax.random.normal(key, (output_size, input_size))

    @property
    def input_shape(self):
        return self.W.shape[1:]

    def project(self, x):
        return x @ self.W.mT


def method_of(layer: seqmem.AbstractLayer) -> seqmem.AbstractMethod | None:
    """The method of a layer: short chunks for every memory that is a matrix, else the default."""
    if isinstance(layer, seqmem.AbstractFastWeightCell):
        return CHUNKS
    if isinstance(layer, Residual):
        inner = method_of(layer.layer)
        return inner if isinstance(inner, LayerByLayer) else LayerByLayer(inner)
    if isinstance(layer, Stack | seqmem.Mamba3):
        return LayerByLayer(*map(method_of, layer.layers))
    return None


def one_block(cell_type: Callable[..., seqmem.AbstractCell]) -> Callable[..., Stack]:
    """A cell after an embedding and a convolution of four taps, and a norm. With the convolution,
    the value under a key can be the input that follows it.
    """

    def make(input_size: int, width: int, lag: int, *, key: PRNGKeyArray) -> Stack:
        keys = jax.random.split(key)
        return Stack(
            [Linear(input_size, width, 1.0, key=keys[0]), *_layers(cell_type, width, keys[1])]
        )

    return make


def two_blocks(cell_type: Callable[..., seqmem.AbstractCell]) -> Callable[..., Stack]:
    """Two blocks with residual connections after an embedding, and a layer of SiLU. The first can
    count the symbols so far, and the second stores a symbol under its count.
    """

    def make(input_size: int, width: int, lag: int, *, key: PRNGKeyArray) -> Stack:
        keys = jax.random.split(key, 4)
        layers = [Linear(input_size, width, 1.0, key=keys[0])]
        layers.append(Residual(Stack(_layers(cell_type, width, keys[1]))))
        layers.append(Residual(Stack([RMSNorm(width), *_layers(cell_type, width, keys[2])])))
        layers += [Linear(width, 2 * width, width**-0.5, key=keys[3]), Map(jax.nn.silu)]
        return Stack(layers)

    return make


def oscillator_blocks(input_size: int, width: int, lag: int, *, key: PRNGKeyArray) -> Stack:
    """Two blocks of linear oscillators after a linear map, each with a norm before and a gated
    linear unit behind, as in the authors' program, tk-rusch/linoss, whose norm is one of the batch.
    """
    keys = jax.random.split(key, 5)
    layers = [Linear(input_size, width, input_size**-0.5, key=keys[0])]
    for cell_key, map_key in (keys[1:3], keys[3:5]):
        cell = seqmem.LinOSSIMEX(width, width, key=cell_key)
        gates = Linear(width, 2 * width, width**-0.5, key=map_key)
        block = [RMSNorm(width), cell, Map(jax.nn.gelu), gates, Map(jax.nn.glu)]
        layers.append(Residual(Stack(block)))
    return Stack(layers)


def _layers(
    cell_type: Callable[..., seqmem.AbstractCell], width: int, key: PRNGKeyArray
) -> list[seqmem.AbstractCell]:
    """A short convolution, a cell of two heads, and a norm."""
    keys = jax.random.split(key)
    convolution = seqmem.DepthwiseConv(width, width=TAPS, key=keys[0])
    cell = cell_type(width, width, num_heads=NUM_HEADS, key=keys[1])
    return [convolution, cell, RMSNorm(width)]


MEMORIES = {
    "LinearAttention": seqmem.LinearAttention,
    "GLA": seqmem.GLA,
    "MLSTM": seqmem.MLSTM,
    "DeltaRule": seqmem.DeltaRule,
    "GatedDeltaRule": seqmem.GatedDeltaRule,
    "GatedDeltaRule2": seqmem.GatedDeltaRule2,
    "KDA": seqmem.KDA,
    "Mamba3": seqmem.Mamba3,
    "RWKV7": seqmem.RWKV7,
}

MATRIX_NETWORKS = {name: one_block(cell_type) for name, cell_type in MEMORIES.items()} | {
    f"{name} x 2": two_blocks(cell_type) for name, cell_type in MEMORIES.items()
}
