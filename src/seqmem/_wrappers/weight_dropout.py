"""`with_weight_dropout`: dropout of recurrent weights."""

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from .._core.calls import makes_layer
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.parametrization import evaluate_parametrizations
from .._core.validation import check_rate
from .masks import dropout_mask
from .wrapper import WrappedCell


@makes_layer
def with_weight_dropout(cell: AbstractCell, rate: float, *, key: PRNGKeyArray) -> AbstractCell:
    """A cell with dropout of its recurrent weights (DropConnect), for one training step: one mask
    for all steps and all sequences.

        U ← m ∘ U        m = 0 with probability rate, else 1/(1 − rate)

    The result is a cell of the same class. The masks have no gradient, and a dropped weight has a
    gradient of 0 where the call is part of the loss. Of a structured matrix (`seqmem.LowRank`) the
    entries are dropped, and the result holds them as an array.

    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182. Differs: none.

    Args:
        cell: a cell whose class names its `recurrent_weights`.
        rate: probability of dropping a weight, 0 <= rate < 1.
        key: random key for the masks.

    Raises:
        ValueError: if rate is not in [0, 1), or the class names no recurrent weights.

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
            "a cell with a class attribute recurrent_weights, such as ('U',).",
            "name the parameters that multiply the state; in a network, apply it to the cells.",
        )
    for name, subkey in zip(names, jax.random.split(key, len(names)), strict=True):
        weights = evaluate_parametrizations(getattr(cell, name))
        dropped = weights * dropout_mask(subkey, rate, weights.shape, weights.dtype)
        cell = eqx.tree_at(lambda tree, name=name: getattr(tree, name), cell, dropped)
    return cell
