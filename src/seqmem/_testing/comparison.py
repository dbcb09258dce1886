"""Comparison of trees of arrays, and the error for a broken law."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

EXACT = 0.0  # as a tolerance: every bit must agree
FLOOR = 1e-3  # differences are relative to the largest entry of a leaf, and at least to this


class LawBroken(AssertionError):  # noqa: N818
    """A cell or a function breaks a law of seqmem; the message says which and how.

    Attributes:
        law: the name of the law, one of those in `seqmem.testing.check_cell` or `check_op`.
    """

    law: str

    def __init__(self, law: str, how: str):
        super().__init__(f"{law}: {how}")
        self.law = law


class NotTested(Exception):  # noqa: N818
    """A law that cannot be tested, with the reason."""


def largest_difference(
    got: PyTree, want: PyTree, tolerance: float, *, floor: float = FLOOR
) -> str | None:
    """The largest difference between two trees, as the end of a sentence; None if they agree.

    Leaves agree where no entry differs by more than `tolerance` times the largest entry of the
    leaf, or times `floor`, or where all bits are the same; with `EXACT`, only then.
    """
    if jax.tree.structure(got) != jax.tree.structure(want):
        return f"the tree is {jax.tree.structure(got)} instead of {jax.tree.structure(want)}"
    largest = None
    for (path, one), other in zip(
        jax.tree.leaves_with_path(got), jax.tree.leaves(want), strict=True
    ):
        one, other = np.asarray(one), np.asarray(other)
        name = label(path)
        if one.shape != other.shape or one.dtype != other.dtype:
            return (
                f"{name} is {one.dtype}{list(one.shape)} instead of "
                f"{other.dtype}{list(other.shape)}"
            )
        if one.tobytes() == other.tobytes():
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(np.subtract(one, other, dtype=np.result_type(one, np.float64)))
            scale = max(np.max(np.abs(other), initial=0.0), floor)
        worst = np.unravel_index(np.argmax(apart), apart.shape)  # NaN counts as the largest
        if tolerance == EXACT or not apart[worst] <= tolerance * scale:
            size = apart[worst] / scale
            if largest is None or not size <= largest[0]:
                largest = size, f"{apart[worst]:.2g}{name and f' in {name}'}{_place(path, worst)}"
    return largest and f"largest difference {largest[1]}"


def not_finite(tree: PyTree) -> str | None:
    """Where a tree holds NaN or infinity, as the end of a sentence; None if it holds neither."""
    for path, leaf in jax.tree.leaves_with_path(tree):
        if not np.all(np.isfinite(leaf)):
            return f"{label(path)} is {np.asarray(leaf)}"
    return None


def label(path: tuple) -> str:
    """A path in words: `final state.h`, where its first key is the name of a tree."""
    first, rest = path[:1], path[1:]
    if first and isinstance(first[0], jax.tree_util.DictKey):
        return f"{first[0].key}{jax.tree_util.keystr(rest)}"
    return jax.tree_util.keystr(path)


def _place(path: tuple, index: tuple[Any, ...]) -> str:
    has_time = path and getattr(path[0], "key", None) in PER_STEP
    if has_time and len(index) >= 2:
        return f" at t={index[0]}, example {index[1]}"
    return f" at {[int(i) for i in index]}" if index else ""


PER_STEP = ("ys", "states", "gradient of xs", "gradient of the states")
