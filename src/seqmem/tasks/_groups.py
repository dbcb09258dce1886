"""Finite groups as multiplication tables."""

import dataclasses
import itertools

import numpy as np
from jaxtyping import Int

from .._core.errors import bad_input
from .._core.validation import check_count


@dataclasses.dataclass(frozen=True)
class Group:
    """A finite group; element 0 is the identity.

    Args:
        name: the usual name, such as "S3".
        table: `table[g][h]` is the product g·h, as tuples, so that a group is hashable.

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
        """The number of elements."""
        return len(self.table)

    def product_table(self) -> Int[np.ndarray, "order order"]:
        """The table as an array."""
        return np.asarray(self.table, np.int32)


def cyclic(order: int) -> Group:
    """The cyclic group Z_n: addition modulo n.

    Args:
        order: n, 2 to 1024.

    Raises:
        ValueError: for another n.
    """
    _check("cyclic", "order", order, 2, 1024)
    elements = range(order)
    table = tuple(tuple((g + h) % order for h in elements) for g in elements)
    return Group(f"Z{order}", table)


def symmetric(points: int) -> Group:
    """The symmetric group S_n: all permutations of n points, with (g·h)(i) = g(h(i)).

    The elements are in the order of `itertools.permutations`.

    Args:
        points: n, 2 to 5.

    Raises:
        ValueError: for another n.
    """
    _check("symmetric", "points", points, 2, 5)
    return _permutations(f"S{points}", list(itertools.permutations(range(points))))


def alternating(points: int) -> Group:
    """The alternating group A_n: the even permutations of n points.

    A5 is the smallest group that is not solvable.

    Args:
        points: n, 3 to 5.

    Raises:
        ValueError: for another n.
    """
    _check("alternating", "points", points, 3, 5)

    def is_even(g: tuple[int, ...]) -> bool:
        return sum(a > b for a, b in itertools.combinations(g, 2)) % 2 == 0

    return _permutations(f"A{points}", list(filter(is_even, itertools.permutations(range(points)))))


def _permutations(name: str, elements: list[tuple[int, ...]]) -> Group:
    index = {g: i for i, g in enumerate(elements)}
    table = tuple(tuple(index[tuple(g[i] for i in h)] for h in elements) for g in elements)
    return Group(name, table)


def _check(owner: str, name: str, value: int, least: int, most: int) -> None:
    """Refuse an integer outside of a range; the table has order² entries."""
    remedy = f"choose a number from {least} to {most}."
    check_count(owner, name, value, at_least=least, remedy=remedy)
    if value > most:
        raise bad_input(f"{owner} got {name}={value}.", f"at most {most}.", remedy)
