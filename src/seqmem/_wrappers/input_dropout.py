"""Dropout between layers, one draw for a whole sequence."""

import functools

from jaxtyping import Array, PRNGKeyArray

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .masks import check_rate, kept_entries, of_examples
from .._core.batching import PerExample
from .._core.precision import precision, state_dtype
from .wrapper import AbstractModifier, modified


class _DroppedInputs(AbstractModifier):
    mask: Array | PerExample

    def project(self, cell, x):
        return cell.project(self.mask * x)


@functools.singledispatch
def with_input_dropout(
    cell: AbstractCell, rate: float, batch_shape: tuple[int, ...], *, key: PRNGKeyArray
) -> AbstractCell:
    """The same cell, of the same family, for one step of training: entries of its inputs are left
    out, the same ones at every step of a sequence, and the others scaled by 1/(1 − rate).

        u_t = project(m ∘ x_t)

    On every layer of a network but the first it is dropout between layers; on a
    `seqmem.layers.Map` behind them, of what they show. A `seqmem.layers.Stack` drops the inputs of
    its first cell.

    Source: Gal & Ghahramani 2015, arXiv:1512.05287. Differs: scaled in training, not in testing.

    Args:
        cell: a cell of vectors, with an `input_size`.
        rate: the share of entries to leave out, 0 <= rate < 1.
        batch_shape: the batch axes of the sequences, each of which gets its own draw; () is one for
            all, and for single steps.
        key: for the draw.

    Raises:
        ValueError: where the rate is none, or the size of an input is not known.

    Example:
        >>> import jax, seqmem
        >>> low, high, draw = jax.random.split(jax.random.key(0), 3)
        >>> cells = [seqmem.LSTM(3, 5, key=low), seqmem.GRU(5, 5, key=high)]
        >>> cells[1] = seqmem.with_input_dropout(cells[1], 0.3, (2,), key=draw)
        >>> net = seqmem.layers.Stack(cells)
        >>> state, ys = seqmem.unroll(net, net.init_state(), jax.numpy.ones((7, 2, 3)))
    """
    check_rate("with_input_dropout", rate)
    size = getattr(cell, "input_size", None)
    if size is None or cell.input_axes != 1:
        raise bad_input(
            f"with_input_dropout got a {type(cell).__name__} with input_axes={cell.input_axes} "
            f"and input_size={size}.",
            "a cell of vectors, with an input_size.",
            "put the call on the first cell that sees vectors.",
        )
    mask = kept_entries(key, rate, (*batch_shape, size), precision(cell) or state_dtype())
    return modified(cell, _DroppedInputs(of_examples(mask, batch_shape)))
