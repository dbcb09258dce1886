"""Changes of some steps or examples of a tree of arrays [time, batch, ...]."""

import jax
import numpy as np
from jaxtyping import Bool, Int, PyTree


def replace_steps(tree: PyTree, where: Bool[np.ndarray, "time ..."], other: PyTree) -> PyTree:
    """`tree` with the steps of `other` at some places."""

    def replace(leaf: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.where(where.reshape(where.shape + (1,) * (leaf.ndim - where.ndim)), other, leaf)

    return jax.tree.map(replace, tree, other)


def keep_steps(tree: PyTree, where: Bool[np.ndarray, "time ..."]) -> PyTree:
    """`tree` at some steps and zeros at the others, so that a message names the right step."""
    return replace_steps(tree, ~where, jax.tree.map(np.zeros_like, tree))


def example_of(tree: PyTree, example: int) -> PyTree:
    """One example of arrays [batch, ...]."""
    return jax.tree.map(lambda leaf: leaf[example], tree)


def extreme_like(leaf: np.ndarray, number: float) -> np.ndarray:
    """`number` in a floating array; the largest value, which is no valid index, in another."""
    if np.issubdtype(leaf.dtype, np.inexact):
        return np.full_like(leaf, number)
    return np.full_like(leaf, True if leaf.dtype == bool else np.iinfo(leaf.dtype).max)


def with_nan(tree: PyTree, where: slice | np.ndarray) -> PyTree:
    """`tree` with NaN at some steps of its floating leaves."""

    def poison(leaf: np.ndarray) -> np.ndarray:
        leaf = leaf.copy()
        if np.issubdtype(leaf.dtype, np.inexact):
            leaf[where] = np.nan
        return leaf

    return jax.tree.map(poison, tree)


def flip_valid(tree: PyTree, lengths: Int[np.ndarray, " batch"]) -> PyTree:
    """Arrays [time, batch, ...] with the valid steps of every sequence in the opposite order."""

    def flip(leaf: np.ndarray) -> np.ndarray:
        steps = np.arange(len(leaf))[:, None]
        order = np.where(steps >= lengths, steps, lengths - 1 - steps)
        return leaf[order, np.arange(len(lengths))]

    return jax.tree.map(flip, tree)
