"""Decoders of sequence-to-sequence models: a cell, and how it reads the encoder outputs."""

import abc

import equinox as eqx
import jax
from jaxtyping import Array, Float

from .._core.batching import PerExample
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from ._attention import AbstractAttention, AttentionSource, Lengths, Values


class AbstractDecoder(eqx.Module):
    """A decoder: a cell, and how it reads the encoder outputs of a source.

    `attend_to` turns it into one cell for one source, or for a batch of sources.

    Attributes:
        cell: the cell of the decoder.
    """

    cell: eqx.AbstractVar[AbstractCell]

    @abc.abstractmethod
    def attend_to(self, source: Values, *, lengths: Lengths = None) -> AbstractCell:
        """The cell that decodes a source, or one source for each example of a batch.

        Args:
            source: the encoder outputs, time first.
            lengths: valid steps of each source.
        """

    @abc.abstractmethod
    def extend_state(self, cell_state: State, batch: tuple[int, ...] = ()) -> State:
        """The state of the cell that `attend_to` returns, from a state of `cell`.

        Args:
            cell_state: a state of `cell`, batch axes in front.
            batch: these batch axes.
        """

    @abc.abstractmethod
    def weights(
        self,
        source: Values,
        state: State,
        xs: Float[Array, "time *batch input"],
        *,
        lengths: Lengths = None,
    ) -> Float[Array, "time *batch source"]:
        """The attention weights of every decoder step.

        Args:
            source: the encoder outputs, time first.
            state: the decoder state before the first step.
            xs: the decoder inputs.
            lengths: valid steps of each source.
        """

    def init_state(self, *batch: int) -> State:
        """The state before the first input, `batch` in front of every leaf."""
        return self.extend_state(self.cell.init_state(*batch), batch)


class PlainDecoder(AbstractDecoder):
    """A decoder without attention: it knows the source from its first state alone.

    Args:
        cell: the cell.
    """

    cell: AbstractCell

    def attend_to(self, source, *, lengths=None):
        return self.cell

    def extend_state(self, cell_state, batch=()):
        return cell_state

    def weights(self, source, state, xs, *, lengths=None):
        raise bad_input(
            "the attention weights of a decoder without attention.",
            "a decoder that attends to the source.",
            "make the model with LuongDecoder or BahdanauDecoder.",
        )


def per_example_source(source: AttentionSource) -> AttentionSource | PerExample:
    """The source as a part of a cell, per example where it has batch axes."""
    return PerExample(source) if source.valid.ndim > 1 else source


def attention_weights(
    attention: AbstractAttention,
    source: Values,
    queries: Float[Array, "time *batch query"],
    lengths: Lengths,
) -> Float[Array, "time *batch source"]:
    """The attention weights of many queries to each source of a batch."""

    def weights(source: AttentionSource, queries: Array) -> Array:
        return attention(queries, source)[1]

    for _ in range(queries.ndim - 2):
        weights = jax.vmap(weights, in_axes=(0, 1), out_axes=1)
    return weights(attention.attend_to(source, lengths=lengths), queries)


def check_query_size(decoder: str, attention: AbstractAttention, size: int, name: str) -> None:
    """Refuse an attention whose queries have another size than the decoder's.

    Raises:
        ValueError: where they have.
    """
    if attention.query_size != size:
        raise bad_input(
            f"{decoder} got an attention with query_size={attention.query_size}.",
            f"{size}, the size of the cell's {name}.",
            "make the attention with this size.",
        )
