"""`LuongDecoder`: attention after the recurrence."""

from jaxtyping import Array

from .._cells.pointwise import AbstractPointwiseCell
from .._core.batching import PerExample
from .._core.cell import AbstractCell
from .._core.shapes import vector_size
from .._unroll import unroll
from ..layers.stack import Stack
from ._attention import AbstractAttention, AttentionSource
from ._decoder import AbstractDecoder, attention_weights, check_query_size, per_example_source


class LuongDecoder(AbstractDecoder):
    """A decoder that attends with the output of its cell, after the state update.

        s_t = update(s_{t−1}, project(x_t))
        q_t = readout(s_t)
        c_t = attention(q_t)
        y_t = (q_t, c_t)

    The context does not enter the state, so attention runs outside of the recurrence, as matrix
    products over all steps, and the cell keeps the methods of its family. This decoder is faster
    than `BahdanauDecoder`.

    Source: Luong, Pham & Manning 2015, arXiv:1508.04025, section 3.1. Differs: without "input
    feeding"; any cell.

    Args:
        cell: the cell; its outputs are vectors.
        attention: its query_size is the size of the cell's output.

    Raises:
        ValueError: where these sizes differ.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> decoder = seqmem.models.LuongDecoder(
        ...     seqmem.GRU(3, 7, key=keys[0]), seqmem.models.DotAttention(7, 5, key=keys[1])
        ... )
        >>> cell = decoder.attend_to(jnp.ones((11, 2, 5)), lengths=jnp.array([11, 4]))
        >>> state, (ys, contexts) = seqmem.unroll(cell, None, jnp.ones((13, 2, 3)))
        >>> ys.shape, contexts.shape
        ((13, 2, 7), (13, 2, 5))
    """

    cell: AbstractCell
    attention: AbstractAttention

    def __check_init__(self):
        if vector_size(self.cell.input_shape) is not None:
            size = self.cell.output_shape[-1]
            check_query_size("LuongDecoder", self.attention, size, "output")

    def attend_to(self, source, *, lengths=None):
        prepared = self.attention.attend_to(source, lengths=lengths)
        return Stack([self.cell, _Attention(self.attention, per_example_source(prepared))])

    def extend_state(self, cell_state, batch=()):
        return cell_state, ()

    def weights(self, source, state, xs, *, lengths=None):
        cell_state, _ = state
        _, queries = unroll(self.cell, cell_state, xs)
        return attention_weights(self.attention, source, queries, lengths)


class _Attention(AbstractPointwiseCell):
    """Attention as a layer: y_t = (q_t, context of q_t)."""

    attention: AbstractAttention
    source: AttentionSource | PerExample

    def project(self, x: Array) -> tuple[Array, Array]:
        return x, self.attention(x, self.source)[0]  # pyright: ignore
