"""Records in a tree of arrays, and whether the values of an array are known."""

from typing import Any

import jax
from jax.core import Tracer
from jaxtyping import PyTree


def nodes(tree: PyTree, kind: type) -> list[Any]:
    """The records of one type in a tree, in its order."""
    is_node = lambda node: isinstance(node, kind)  # noqa: E731
    return [node for node in jax.tree.leaves(tree, is_leaf=is_node) if is_node(node)]


def is_known(leaf: Any) -> bool:
    """Whether the values of an array, or None, can be read: they are not where it is traced, or on
    devices of other processes.
    """
    return not isinstance(leaf, Tracer) and getattr(leaf, "is_fully_addressable", True)
