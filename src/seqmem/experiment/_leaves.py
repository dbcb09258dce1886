"""The arrays of a tree by their names: what is kept of one, what is checked, what is put back."""

import zlib
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .._core.errors import bad_input
from ..training._placement import numbers, on_devices

Description = dict[str, list]  # name -> [shape, dtype, checksum]
SHOWN = 5


def arrays_of(tree: PyTree) -> dict[str, Array]:
    """Every array of a tree by its path; functions and the like are no numbers and left out.

    Raises:
        ValueError: where a number is no JAX array, and would be lost.
    """
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path)
        if isinstance(leaf, jax.Array):
            found[name] = leaf
        elif eqx.is_array_like(leaf):
            raise bad_input(
                f"{name or 'the tree'} is {type(leaf).__name__}, {leaf!r:.50}.",
                "JAX arrays only: these are what a jitted step gives back.",
                "make it one with jnp.asarray, or keep it out of the tree.",
            )
    return found


def strong(tree: PyTree) -> PyTree:
    """The tree without weak types, which are not kept."""
    return jax.tree.map(
        lambda leaf: (
            jax.lax.convert_element_type(leaf, leaf.dtype)
            if getattr(leaf, "weak_type", False)
            else leaf
        ),
        tree,
    )


def describe(arrays: Mapping[str, Array]) -> Description:
    """Shape, dtype (which says a key's kind) and checksum of each array.

    An array that no single process holds has no checksum.
    """
    return {
        name: [list(array.shape), str(array.dtype), _checksum(numbers(array))]
        for name, array in arrays.items()
    }


def refuse_other(saved: Description, arrays: Mapping[str, Array], where: str) -> None:
    """Raise where what was saved is not what is asked for, and say in which leaves."""
    asked = {name: [list(array.shape), str(array.dtype)] for name, array in arrays.items()}
    differences = [f"{name} is not in it" for name in asked if name not in saved]
    differences += [f"it holds {name}, {_kind(saved[name])}" for name in saved if name not in asked]
    differences += [
        f"{name} is {_kind(saved[name])} in it, not {_kind(asked[name])}"
        for name in asked
        if name in saved and saved[name][:2] != asked[name]
    ]
    if differences:
        more = len(differences) - SHOWN
        shown = "; ".join(differences[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise bad_input(
            f"{where} is of something else: {shown}.",
            "the leaves of what is given, each of its shape and dtype.",
            "build the model and the optimiser as they were, or choose another checkpoint.",
        )


def refuse_damaged(saved: Description, values: Mapping[str, np.ndarray], where: str) -> None:
    """Raise where the numbers are not those that were saved, and say in which leaves."""
    wrong = [
        name
        for name, value in values.items()
        if saved[name][2] is not None and _checksum(value) != saved[name][2]
    ]
    if wrong:
        raise damaged(where, f"other numbers than were saved in {', '.join(wrong[:SHOWN])}")


def damaged(where: str, why: object) -> ValueError:
    return bad_input(
        f"{where} is damaged: {why}.",
        "what was written, to the bit.",
        "take its folder or file away: the one before it, or a copy, can still be used.",
    )


def place_like(value: np.ndarray, like: Array) -> Array:
    """The numbers as an array of the same kind, on the same devices."""
    old = numbers(like)
    new = on_devices(value, old.sharding) if old.committed else jnp.array(value)
    return new if old is like else jax.random.wrap_key_data(new, impl=jax.random.key_impl(like))


def put_back(tree: PyTree, arrays: Mapping[str, Array]) -> PyTree:
    """The tree with its arrays replaced by those of the same names."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: arrays.get(jax.tree_util.keystr(path), leaf), tree
    )


def _kind(described: list) -> str:
    shape, dtype = described[:2]
    return f"{dtype}{shape}"


def _checksum(array: Array | np.ndarray) -> int | None:
    if isinstance(array, jax.Array) and not (
        array.is_fully_addressable or array.is_fully_replicated
    ):
        return None
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
