"""`with_variational_dropout`: dropout of a gated cell's recurrent input, one mask per sequence."""

from typing import ClassVar

import jax
from jaxtyping import PRNGKeyArray

from .._cells.gated.family import GATED
from .._core.batching import PerExample
from .._core.calls import makes_layer
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.precision import precision
from .._core.problem import State
from .._core.validation import check_rate
from .masks import apply_mask, dropout_mask, per_example
from .wrapper import AbstractWrapper, WrappedCell


class VariationalDropout(AbstractWrapper):
    name: ClassVar = "with_variational_dropout"
    has_new_gates = True

    masks: State | PerExample

    def mix(self, cell, state, drive):
        return cell.mix(apply_mask(self.masks, state), drive)


@makes_layer
def with_variational_dropout(
    cell: AbstractCell, rate: float, batch_shape: tuple[int, ...], *, key: PRNGKeyArray
) -> AbstractCell:
    """A gated cell with dropout of its recurrent input, for one training step: one mask for all
    steps of a sequence.

        z_t = mix(m ∘ s_{t−1}, u_t)        m = 0 with probability rate, else 1/(1 − rate)
        s_t = gate(s_{t−1}, z_t)

    The gate gets the state without a mask, so the memory itself is not dropped. A reset does not
    change the masks, and they have no gradient. `seqmem.with_input_dropout` is the paper's dropout
    of inputs.

    Source: Gal & Ghahramani 2015, arXiv:1512.05287. Differs: scaled in training, not at test time;
    all gates share a mask.

    Args:
        cell: a gated cell.
        rate: probability of dropping an entry, 0 <= rate < 1.
        batch_shape: the batch axes of the sequences, each of which gets a mask; () is one mask for
            all sequences, and for single steps.
        key: random key for the masks.

    Raises:
        ValueError: if rate is not in [0, 1), or the cell is not a gated cell.

    Example:
        >>> import jax, seqmem
        >>> cell_key, mask_key = jax.random.split(jax.random.key(0))
        >>> cell = seqmem.LSTM(3, 5, key=cell_key)
        >>> cell = seqmem.with_variational_dropout(cell, 0.3, (2,), key=mask_key)
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 2, 3)))
        >>> ys.shape
        (7, 2, 5)
    """
    check_rate("with_variational_dropout", rate)
    if cell.family is not GATED:
        raise bad_input(
            f"with_variational_dropout got a {type(cell).__name__}.",
            "a gated cell, whose `mix` holds its recurrent weights.",
            "use seqmem.with_input_dropout; in a stack, apply it to the cells.",
        )
    leaves, tree = jax.tree.flatten(jax.eval_shape(cell.init_state))
    masks = [
        dropout_mask(subkey, rate, (*batch_shape, *leaf.shape), precision(cell) or leaf.dtype)
        for subkey, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
    ]
    return WrappedCell(cell, VariationalDropout(per_example(tree.unflatten(masks), batch_shape)))
