"""Dropout of recurrent weights."""

import functools

import equinox as eqx
from jaxtyping import PRNGKeyArray

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .masks import check_rate, kept_entries
from .wrapper import Modified


@functools.singledispatch
def with_weight_dropout(cell: AbstractCell, rate: float, *, key: PRNGKeyArray) -> AbstractCell:
    """The same cell, for one step of training: recurrent weights are left out, the others scaled by
    1/(1 − rate).

        U ← m ∘ U        m drawn once, for all steps and all sequences

    It is a function of the parameters, so nothing differs in how the cell is run.

    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182. Differs: none.

    Args:
        cell: a cell with recurrent weights `U` (`seqmem.IndRNN`: `u`).
        rate: the share of weights to leave out, 0 <= rate < 1.
        key: for the draw.

    Raises:
        ValueError: where the rate is none, or the cell has no such weights.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
        >>> dropped = seqmem.with_weight_dropout(cell, 0.5, key=jax.random.key(1))
        >>> bool((dropped.U == 0).any()), bool((dropped.W == cell.W).all())
        (True, True)
    """
    check_rate("with_weight_dropout", rate)
    name = next((name for name in ("U", "u") if hasattr(cell, name)), None)
    if name is None:
        raise bad_input(
            f"with_weight_dropout got a {type(cell).__name__}.",
            "a cell with recurrent weights U.",
            "use seqmem.with_input_dropout; in a stack, put the call on the cells.",
        )
    own = getattr(cell, name)
    dropped = own * kept_entries(key, rate, own.shape, own.dtype)
    return eqx.tree_at(lambda cell: getattr(cell, name), cell, dropped)


@with_weight_dropout.register
def _(cell: Modified, rate: float, *, key: PRNGKeyArray) -> AbstractCell:
    return eqx.tree_at(lambda tree: tree.cell, cell, with_weight_dropout(cell.cell, rate, key=key))
