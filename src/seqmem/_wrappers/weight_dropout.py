"""Dropout of recurrent weights."""

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.validation import check_rate
from .masks import dropout_mask
from .wrapper import WrappedCell


def with_weight_dropout(cell: AbstractCell, rate: float, *, key: PRNGKeyArray) -> AbstractCell:
    """The same cell, for one step of training: recurrent weights are dropped, the others scaled by
    1/(1 − rate).

        U ← m ∘ U        m drawn once, for all steps and all sequences

    It is a function of the parameters, so nothing differs in how the cell is run.

    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182. Differs: none.

    Args:
        cell: a cell that names its `recurrent_weights`.
        rate: the share of weights to drop, 0 <= rate < 1.
        key: for the draw.

    Raises:
        ValueError: if rate is not in [0, 1), or the cell names no recurrent weights.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
        >>> dropped = seqmem.with_weight_dropout(cell, 0.5, key=jax.random.key(1))
        >>> bool((dropped.U == 0).any()), bool((dropped.W == cell.W).all())
        (True, True)
    """
    check_rate("with_weight_dropout", rate)
    if isinstance(cell, WrappedCell):
        inner = with_weight_dropout(cell.cell, rate, key=key)
        return eqx.tree_at(lambda tree: tree.cell, cell, inner)
    names = cell.recurrent_weights
    if not names:
        raise bad_input(
            f"with_weight_dropout got a {type(cell).__name__}, which names no recurrent weights.",
            "a cell whose class attribute `recurrent_weights` names the matrices on its state.",
            "use seqmem.with_input_dropout; in a network, put the call on the cells.",
        )
    for name, subkey in zip(names, jax.random.split(key, len(names)), strict=True):
        weights = getattr(cell, name)
        dropped = weights * dropout_mask(subkey, rate, weights.shape, weights.dtype)
        cell = eqx.tree_at(lambda tree, name=name: getattr(tree, name), cell, dropped)
    return cell
