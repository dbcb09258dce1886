"""Finite groups as tables of products."""

import dataclasses
import itertools

import numpy as np
from jaxtyping import Int

from .._core.errors import bad_input


@dataclasses.dataclass(frozen=True)
class Group:
    """A finite group; element 0 is the one that changes nothing.

    Args:
        name: what it is called.
        table: table[g][h] is the product g·h. Tuples, so that a group is hashable.

    Example:
        >>> from seqmem.tasks import cyclic, symmetric
        >>> cyclic(3).table
        ((0, 1, 2), (1, 2, 0), (2, 0, 1))
        >>> symmetric(3).order
        6
    """

    name: str
    table: tuple[tuple[int, ...], ...] = dataclasses.field(repr=False)

    @property
    def order(self) -> int:
        """How many elements it has."""
        return len(self.table)

    def products(self) -> Int[np.ndarray, "order order"]:
        """The table as an array."""
        return np.asarray(self.table, np.int32)


def cyclic(order: int) -> Group:
    """Z_n: addition modulo n.

    Raises:
        ValueError: where n < 2.
    """
    _check("cyclic", order, 2, 1024)
    elements = range(order)
    table = tuple(tuple((g + h) % order for h in elements) for g in elements)
    return Group(f"Z{order}", table)


def symmetric(points: int) -> Group:
    """S_n: all permutations of n points, in the order of `itertools.permutations`; (g·h)(i) =
    g(h(i)).

    Raises:
        ValueError: where n is not 2 … 5.
    """
    _check("symmetric", points, 2, 5)
    return _permutations(f"S{points}", list(itertools.permutations(range(points))))


def alternating(points: int) -> Group:
    """A_n: the even ones among the permutations of n points. A5 is the smallest group that is not
    solvable.

    Raises:
        ValueError: where n is not 3 … 5.
    """
    _check("alternating", points, 3, 5)

    def even(g: tuple[int, ...]) -> bool:
        return sum(a > b for a, b in itertools.combinations(g, 2)) % 2 == 0

    return _permutations(f"A{points}", list(filter(even, itertools.permutations(range(points)))))


def _permutations(name: str, elements: list[tuple[int, ...]]) -> Group:
    places = {g: place for place, g in enumerate(elements)}
    table = tuple(tuple(places[tuple(g[i] for i in h)] for h in elements) for g in elements)
    return Group(name, table)


def _check(name: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise bad_input(
            f"{name}({value!r}).",
            f"a whole number, at least {least} and at most {most}.",
            "choose a number in this range; the table has the square of the group's order entries.",
        )
