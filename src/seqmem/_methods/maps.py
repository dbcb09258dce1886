"""What a stretch of time does to a state, as one object: the seam between families and the methods
that take time apart.

    s_after = apply(summarise(cell, init, inputs), s_before)
    compose(first, then)    is then after first

A family whose maps have a compact form registers the three; every method that cuts time into
pieces, here or elsewhere, then runs it.
"""

import functools
from typing import Any

from .._core.cell import AbstractCell, Inputs, State
from .._core.errors import bad_input

Map = Any  # a class of its own for each family, by which `compose` and `apply` find theirs


@functools.singledispatch
def summarise(
    cell: AbstractCell, init: State, inputs: Inputs, *, batch_axes: int, reverse: bool
) -> Map:
    """The map of all steps of `inputs`, marks included, in the order in which they are run.

    Raises:
        ValueError: where the cell's family has no compact map.
    """
    raise bad_input(
        f"{type(cell).__name__} has no map of a stretch of time.",
        "a cell whose state moves linearly, of the diagonal or the fast-weight family.",
        "use method=seqmem.Scan(), which runs every cell, on time that is not sharded.",
    )


@functools.singledispatch
def compose(first: Map, then: Map) -> Map:
    """`then` after `first`."""
    raise NotImplementedError(type(first).__name__)


@functools.singledispatch
def apply(map: Map, state: State) -> State:
    """The state after a stretch of time, from the one before it."""
    raise NotImplementedError(type(map).__name__)
