"""The arrays of a tree by their paths."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .._core.errors import bad_input
from ..training._placement import raw_array, shard_array


def named_arrays(tree: PyTree) -> dict[str, Array]:
    """Every array of a tree by its path. Functions and the like are omitted.

    Raises:
        ValueError: for a number that is no JAX array, which would not be saved.
    """
    arrays = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path)
        if isinstance(leaf, jax.Array):
            arrays[name] = leaf
        elif eqx.is_array_like(leaf):
            raise bad_input(
                f"{name or 'the tree'} is {type(leaf).__name__}, {leaf!r:.50}.",
                "JAX arrays only, as a jitted step returns them.",
                "convert it with jnp.asarray, or remove it from the tree.",
            )
    return arrays


def replace_arrays(tree: PyTree, arrays: Mapping[str, Array]) -> PyTree:
    """The tree with other arrays of the same paths."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: arrays.get(jax.tree_util.keystr(path), leaf), tree
    )


def array_like(value: np.ndarray, like: Array) -> Array:
    """The value as an array, or as random keys, on the devices of `like`."""
    old = raw_array(like)
    new = shard_array(value, old.sharding) if old.committed else jnp.array(value)
    return new if old is like else jax.random.wrap_key_data(new, impl=jax.random.key_impl(like))


def strip_weak_types(tree: PyTree) -> PyTree:
    """The tree without weak types, which a checkpoint does not hold."""

    def strip(leaf):
        has_weak_type = getattr(leaf, "weak_type", False)
        return jax.lax.convert_element_type(leaf, leaf.dtype) if has_weak_type else leaf

    return jax.tree.map(strip, tree)
