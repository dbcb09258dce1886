"""`with_learned_state`: an initial state that is a parameter."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core.calls import makes_layer
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.precision import as_precision, keep_inexact, precision
from .._core.problem import State
from .._core.shapes import tree_names
from .._methods.series import AbstractSeries
from .wrapper import AbstractWrapper, WrappedCell


class LearnedState(AbstractWrapper):
    name: ClassVar = "with_learned_state"

    state: State  # with None in place of whole numbers

    def init_state(self, cell):
        state = cell.init_state()
        return eqx.combine(as_precision(self.state, precision(state)), state)


@makes_layer
def with_learned_state(cell: AbstractCell, state: State | None = None) -> AbstractCell:
    """A cell whose initial state is a parameter, in the family of the given cell.

        init_state() = θ

    Whole numbers in the state, such as a count of steps, remain those of `cell.init_state()`. Every
    sequence that starts from `init_state()`, and every reset, contributes to the gradient
    of θ. Of layers in series, each gets its own part of θ.

    Args:
        cell: the cell.
        state: the initial value of θ; None is `cell.init_state()`.

    Raises:
        ValueError: for a state of another tree or other shapes than `cell.init_state()`.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.with_learned_state(seqmem.GRU(3, 5, key=jax.random.key(0)))
        >>> xs = jax.numpy.ones((7, 3))
        >>> loss = lambda cell: seqmem.unroll(cell, None, xs)[1].sum()
        >>> bool((jax.grad(loss)(cell).init_state() != 0).all())
        True
    """
    init = cell.init_state()
    state = init if state is None else state
    if jax.tree.map(jnp.shape, init) != jax.tree.map(jnp.shape, state):
        raise bad_input(
            f"with_learned_state got {tree_names(state)}.",
            f"the tree and shapes of the cell's init_state(), {tree_names(init)}.",
            "pass new values for the leaves of cell.init_state(), with their shapes.",
        )
    return _learn(cell, jax.tree.map(jnp.copy, keep_inexact(state)))


def _learn(cell: AbstractCell, state: State) -> AbstractCell:
    if not isinstance(cell, AbstractSeries):
        return WrappedCell(cell, LearnedState(state)) if jax.tree.leaves(state) else cell
    layers = tuple(map(_learn, cell.layers, state))
    return eqx.tree_at(lambda series: series.layers, cell, layers)
