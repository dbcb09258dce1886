"""`with_input_dropout`: dropout of inputs with one mask per sequence."""

import functools
from typing import ClassVar

from jaxtyping import Array, PRNGKeyArray

from .._core.batching import PerExample
from .._core.calls import makes_layer
from .._core.cell import AbstractCell, AbstractLayer
from .._core.container import AbstractContainer
from .._core.errors import bad_input
from .._core.precision import precision, state_dtype
from .._core.shapes import vector_size
from .._core.validation import check_rate
from .masks import apply_mask, dropout_mask, per_example
from .wrapper import AbstractWrapper, WrappedCell


class InputDropout(AbstractWrapper):
    name: ClassVar = "with_input_dropout"

    mask: Array | PerExample

    def project(self, cell, x):
        return cell.project(apply_mask(self.mask, x))


@makes_layer
def with_input_dropout(
    cell: AbstractLayer, rate: float, batch_shape: tuple[int, ...], *, key: PRNGKeyArray
) -> AbstractLayer:
    """A cell with dropout of its inputs, for one training step: one mask for all steps of a
    sequence.

        u_t = project(m ∘ x_t)        m = 0 with probability rate, else 1/(1 − rate)

    On every layer of a network but the first it is dropout between layers; on a
    `seqmem.layers.Map` after the last, dropout of the network's outputs. In a network it applies to
    the first layer. The masks have no gradient. The family is that of the given cell.

    Source: Gal & Ghahramani 2015, arXiv:1512.05287. Differs: scaled in training, not at test time.

    Args:
        cell: a cell of vectors whose `input_shape` is known, or a network.
        rate: probability of dropping an entry, 0 <= rate < 1.
        batch_shape: the batch axes of the sequences, each of which gets a mask; () is one mask for
            all sequences, and for single steps.
        key: random key for the masks.

    Raises:
        ValueError: if rate is not in [0, 1), or the size of an input is not known.

    Example:
        >>> import jax, seqmem
        >>> low, high, draw = jax.random.split(jax.random.key(0), 3)
        >>> cells = [seqmem.LSTM(3, 5, key=low), seqmem.GRU(5, 5, key=high)]
        >>> cells[1] = seqmem.with_input_dropout(cells[1], 0.3, (2,), key=draw)
        >>> net = seqmem.layers.Stack(cells)
        >>> state, ys = seqmem.unroll(net, None, jax.numpy.ones((7, 2, 3)))
    """
    check_rate("with_input_dropout", rate)
    if isinstance(cell, AbstractContainer):
        return cell.map_first(
            functools.partial(with_input_dropout, rate=rate, batch_shape=batch_shape, key=key)
        )
    size = vector_size(cell.input_shape)
    if size is None or not isinstance(cell, AbstractCell):
        raise bad_input(
            f"with_input_dropout got a {type(cell).__name__} with input_shape={cell.input_shape}.",
            "a cell of vectors of a known size.",
            "apply it to the first layer that gets vectors.",
        )
    mask = dropout_mask(key, rate, (*batch_shape, size), precision(cell) or state_dtype())
    return WrappedCell(cell, InputDropout(per_example(mask, batch_shape)))
