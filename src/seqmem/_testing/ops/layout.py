"""Axes in another order, by letters: T time, B batch, H heads, D channels, K keys, V values."""

import jax
import numpy as np
from jaxtyping import PyTree

from ..._core.errors import bad_input
from .case import Case


def rearrange(array: np.ndarray, source: str, target: str) -> np.ndarray:
    """An array with the axes `source`, and perhaps others after them, in the order of `target`.

    An axis that the target lacks has size 1 and is removed; one that the source lacks is added.
    """
    array = np.asarray(array)
    shared = [axis for axis in source if axis in target]
    array = array[tuple(slice(None) if axis in target else 0 for axis in source)]
    order = [shared.index(axis) for axis in target if axis in shared]
    array = array.transpose([*order, *range(len(shared), array.ndim)])
    for i, axis in enumerate(target):
        if axis not in shared:
            array = np.expand_dims(array, i)
    return array


def check_layout(owner: str, name: str, layout: str, letters: str, optional: str = "") -> None:
    """Refuse an order of axes with other letters.

    Raises:
        ValueError: for a letter too many, too few or twice.
    """
    required = set(letters) - set(optional)
    if len(set(layout)) != len(layout) or not required <= set(layout) <= set(letters):
        raise bad_input(
            f"{owner} got {name}={layout!r}.",
            f"the letters {', '.join(letters)}, each once"
            + (f"; {optional} may be left out." if optional else "."),
            f"name the axes of your arrays in their order, e.g. {letters!r}.",
        )


def pack(tree: PyTree, case: Case) -> PyTree:
    """Arrays [time, batch, ...] as one sequence [total, 1, ...] of their valid steps."""

    def pack_leaf(leaf: np.ndarray) -> np.ndarray:
        sequences = [leaf[:length, i] for i, length in enumerate(case.sequence_lengths)]
        return np.concatenate(sequences)[:, None]

    return jax.tree.map(pack_leaf, tree)


def unpack(tree: PyTree, case: Case) -> PyTree:
    """The inverse of `pack`, with zeros as padding."""

    def unpack_leaf(leaf: np.ndarray) -> np.ndarray:
        sequences = np.zeros((case.time, case.batch, *leaf.shape[2:]), leaf.dtype)
        first = 0
        for i, length in enumerate(case.sequence_lengths):
            sequences[:length, i] = leaf[first : first + length, 0]
            first += length
        return sequences

    return jax.tree.map(unpack_leaf, tree)


def flag_array(case: Case) -> np.ndarray:
    """The argument that says where sequences begin or end; flags of steps are [time, batch]."""
    if case.flag == "lengths":
        return case.sequence_lengths.astype(np.int32)
    if case.flag == "resets":
        return case.resets
    if case.flag == "segment_ids":
        return np.cumsum(case.resets, 0).astype(np.int32)
    assert case.flag == "cu_seqlens"
    return np.concatenate([[0], np.cumsum(case.sequence_lengths)]).astype(np.int32)
