"""The precision of a tree of arrays, and casts of a tree to another precision.

A precision is a real floating dtype; it also stands for the complex dtype of the same width. Leaves
of integers, booleans and keys have no precision and are never cast.
"""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def _real_dtypes(tree: PyTree) -> Iterator[jnp.dtype]:
    for leaf in jax.tree.leaves(tree):
        dtype = getattr(leaf, "dtype", None)
        if dtype is not None and jnp.issubdtype(dtype, jnp.inexact):
            yield jnp.finfo(dtype).dtype


def precision(tree: PyTree) -> jnp.dtype | None:
    """The widest precision among the leaves of `tree`; None if no leaf has one."""
    return max(_real_dtypes(tree), key=lambda dtype: jnp.finfo(dtype).bits, default=None)


def as_precision(tree: PyTree, dtype: jnp.dtype | None) -> PyTree:
    """`tree` with every real leaf cast to `dtype`, and every complex leaf to the complex dtype of
    the same width. None casts nothing.
    """
    if dtype is None or all(leaf_dtype == dtype for leaf_dtype in _real_dtypes(tree)):
        return tree
    complex_dtype = jnp.complex128 if jnp.finfo(dtype).bits == 64 else jnp.complex64

    def cast(leaf: Any) -> Any:
        if not eqx.is_inexact_array(leaf):
            return leaf
        if jnp.iscomplexobj(leaf):
            return leaf.astype(complex_dtype)
        return leaf.astype(dtype)

    return jax.tree.map(cast, tree)


def state_dtype(*parameters: PyTree) -> jnp.dtype:
    """The dtype of the state of a cell with these parameters: float64 if they are float64, else
    float32.

    A state sums many small changes, so it has at least 32 bits even where the weights have 16.
    """
    is_double = precision(parameters) == jnp.float64
    return jnp.dtype(jnp.float64 if is_double else jnp.float32)


def split_inexact(tree: PyTree) -> tuple[PyTree, PyTree]:
    """The differentiable leaves of `tree`, and the others; `equinox.combine` is the inverse."""
    return eqx.partition(tree, eqx.is_inexact_array)


def keep_inexact(tree: PyTree) -> PyTree:
    """`tree` with its differentiable leaves; None in place of the others."""
    return eqx.filter(tree, eqx.is_inexact_array)
