"""Dropout of what a gated cell sees of its own state, one draw for a whole sequence."""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from .._cells.gated.family import GATED
from .._core.batching import PerExample
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.precision import precision
from .._core.problem import State
from .._core.validation import check_rate
from .masks import dropout_mask, per_example
from .wrapper import AbstractWrapper, WrappedCell


class _VariationalDropout(AbstractWrapper):
    keeps_gates = False

    masks: State | PerExample

    def mix(self, cell, state, drive):
        return cell.mix(jax.tree.map(jnp.multiply, jax.lax.stop_gradient(self.masks), state), drive)


def with_variational_dropout(
    cell: AbstractCell, rate: float, batch_shape: tuple[int, ...], *, key: PRNGKeyArray
) -> AbstractCell:
    """The same gated cell, for one step of training: entries of the state are left out where its
    recurrent weights see them, the same ones at every step of a sequence, and the others scaled by
    1/(1 − rate).

        z_t = mix(m ∘ s_{t−1}, u_t)
        s_t = gate(s_{t−1}, z_t)

    The memory itself is not touched: what a gate keeps, it keeps whole. A reset keeps the masks.
    `seqmem.with_input_dropout` is the other half of the paper.

    Source: Gal & Ghahramani 2015, arXiv:1512.05287. Differs: scaled in training, not in testing;
    all gates see the same draw.

    Args:
        cell: a gated cell.
        rate: the share of entries to leave out, 0 <= rate < 1.
        batch_shape: the batch axes of the sequences, each of which gets its own draw; () is one for
            all, and for single steps.
        key: for the draw.

    Raises:
        ValueError: where the rate is none, or the cell is of another family.

    Example:
        >>> import jax, seqmem
        >>> own, draw = jax.random.split(jax.random.key(0))
        >>> cell = seqmem.LSTM(3, 5, key=own)
        >>> dropped = seqmem.with_variational_dropout(cell, 0.3, (2,), key=draw)
        >>> state, ys = seqmem.unroll(dropped, cell.init_state(), jax.numpy.ones((7, 2, 3)))
    """
    check_rate("with_variational_dropout", rate)
    if cell.family is not GATED:
        raise bad_input(
            f"with_variational_dropout got a {type(cell).__name__}.",
            "a gated cell, whose `mix` holds its recurrent weights.",
            "use seqmem.with_input_dropout; in a stack, put the call on the cells.",
        )
    leaves, tree = jax.tree.flatten(jax.eval_shape(cell.init_state))
    masks = [
        dropout_mask(subkey, rate, (*batch_shape, *leaf.shape), precision(cell) or leaf.dtype)
        for subkey, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
    ]
    return WrappedCell(cell, _VariationalDropout(per_example(tree.unflatten(masks), batch_shape)))
