"""Dropout of inputs, one draw for a whole sequence."""

import functools

import jax
from jaxtyping import Array, PRNGKeyArray

from .._core.batching import PerExample
from .._core.cell import AbstractLayer
from .._core.container import AbstractContainer
from .._core.errors import bad_input
from .._core.precision import precision, state_dtype
from .._core.shapes import vector_size
from .._core.validation import check_rate
from .masks import dropout_mask, per_example
from .wrapper import AbstractWrapper, WrappedCell


class _InputDropout(AbstractWrapper):
    mask: Array | PerExample

    def project(self, cell, x):
        return cell.project(jax.lax.stop_gradient(self.mask) * x)


def with_input_dropout(
    cell: AbstractLayer, rate: float, batch_shape: tuple[int, ...], *, key: PRNGKeyArray
) -> AbstractLayer:
    """The same cell, of the same family, for one step of training: entries of its inputs are
    dropped, the same ones at every step of a sequence, and the others scaled by 1/(1 − rate).

        u_t = project(m ∘ x_t)

    On every layer of a network but the first it is dropout between layers; on a
    `seqmem.layers.Map` after them, of their outputs. A network drops the inputs of its first cell.
    The masks take no gradient.

    Source: Gal & Ghahramani 2015, arXiv:1512.05287. Differs: scaled in training, not in testing.

    Args:
        cell: a cell of vectors whose `input_shape` is known, or a network.
        rate: the share of entries to drop, 0 <= rate < 1.
        batch_shape: the batch axes of the sequences, each of which gets its own draw; () is one for
            all, and for single steps.
        key: for the draw.

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
    if size is None:
        raise bad_input(
            f"with_input_dropout got a {type(cell).__name__} with input_shape={cell.input_shape}.",
            "a cell of vectors of a known size.",
            "put the call on the first cell that gets vectors.",
        )
    mask = dropout_mask(key, rate, (*batch_shape, size), precision(cell) or state_dtype())
    return WrappedCell(cell, _InputDropout(per_example(mask, batch_shape)))
