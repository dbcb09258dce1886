"""Shapes in words: "2*keys+values input" has 2·keys + values rows and `input` columns."""

import math
from collections.abc import Iterable, Mapping

Sizes = dict[str, int]


def shape_of(words: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape for these sizes."""
    return tuple(size_of(axis, sizes) for axis in words.split())


def solve_sizes(shapes: Iterable[tuple[str, tuple[int, ...]]], known: Mapping[str, int]) -> Sizes:
    """The sizes in the words, from pairs of words and shapes.

    An axis with one unknown name gives its size, rounded down; names alone are read first, and of
    two axes with the same name the first counts. Whether all axes agree is not checked.
    """
    axes = [pair for words, shape in shapes for pair in zip(words.split(), shape, strict=True)]
    axes.sort(key=lambda pair: not pair[0].isidentifier())
    sizes, solved = dict(known), -1
    while solved < len(sizes):
        solved = len(sizes)
        for axis, length in axes:
            unknown = _names(axis) - sizes.keys()
            if len(unknown) == 1:
                (name,) = unknown
                constant, total = (size_of(axis, sizes | {name: size}) for size in (0, 1))
                sizes[name] = max(0, length - constant) // max(1, total - constant)
    return sizes


def size_of(axis: str, sizes: Mapping[str, int]) -> int:
    """The length of one axis: a sum of products."""
    return sum(
        math.prod(int(f) if f.isdigit() else sizes[f] for f in term.split("*"))
        for term in axis.split("+")
    )


def _names(axis: str) -> set[str]:
    return {factor for factor in axis.replace("+", "*").split("*") if not factor.isdigit()}
