"""Trees of NumPy arrays of any dtype, bfloat16 included: their floating leaves, and random ones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array of NumPy or JAX."""
    return isinstance(leaf, np.ndarray | jax.Array)


def is_floating(leaf: Any) -> bool:
    """Whether a leaf has a gradient."""
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def keep_floating(tree: PyTree) -> PyTree:
    """The leaves that have a gradient; None in place of the others."""
    return jax.tree.map(lambda leaf: leaf if is_floating(leaf) else None, tree)


def cast_floating(tree: PyTree, dtype: str) -> PyTree:
    """Real floating leaves in a dtype, in NumPy; with float64, complex ones in complex128."""

    def cast(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        if not is_floating(leaf):
            return leaf
        if not np.iscomplexobj(leaf):
            return leaf.astype(dtype)
        return leaf.astype(np.complex128) if dtype == "float64" else leaf

    return jax.tree.map(cast, tree)


def in_float64(tree: PyTree) -> PyTree:
    """All numbers in float64 or complex128, integers too, for a comparison of values alone."""

    def widen(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return leaf.astype(np.complex128 if np.iscomplexobj(leaf) else np.float64)

    return jax.tree.map(widen, tree)


def draw_like(rng: np.random.Generator, lead: tuple[int, ...], example: Any) -> np.ndarray:
    """Random inputs like an example: normal, or integers up to its largest, or booleans."""
    example = np.asarray(example)
    shape = (*lead, *example.shape)
    if is_floating(example):
        return rng.normal(size=shape)
    top = 2 if example.dtype == bool else 1 + int(np.max(example, initial=0))
    return rng.integers(0, top, shape).astype(example.dtype)


def draw_near(rng: np.random.Generator, leaf: np.ndarray) -> np.ndarray:
    """A leaf moved by normal numbers, where it is floating."""
    return leaf + 0.5 * rng.normal(size=leaf.shape) if is_floating(leaf) else leaf
