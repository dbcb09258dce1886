"""Which precision a tree of arrays is in, and the same tree in another.

A precision is a real floating dtype; it stands for its complex counterpart too. Integer, boolean
and key leaves have none and are left alone.
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
    """The widest precision among the leaves of `tree`; None where no leaf has one."""
    return max(_real_dtypes(tree), key=lambda dtype: jnp.finfo(dtype).bits, default=None)


def as_precision(tree: PyTree, dtype: jnp.dtype | None) -> PyTree:
    """`tree` with every real leaf in `dtype` and every complex leaf in its counterpart (None:
    unchanged).
    """
    if dtype is None or all(own == dtype for own in _real_dtypes(tree)):
        return tree
    wide = jnp.finfo(dtype).bits == 64

    def cast(leaf: Any) -> Any:
        if not eqx.is_inexact_array(leaf):
            return leaf
        if jnp.iscomplexobj(leaf):
            return leaf.astype(jnp.complex128 if wide else jnp.complex64)
        return leaf.astype(dtype)

    return jax.tree.map(cast, tree)


def state_dtype(*parameters: PyTree) -> jnp.dtype:
    """The dtype of a state beside `parameters`: float64 where they are float64, else float32.

    A memory adds up many small changes, so it is not kept in 16 bits only because the weights are.
    """
    own = precision(parameters)
    return jnp.dtype(jnp.float64 if own == jnp.float64 else jnp.float32)


def split(tree: PyTree) -> tuple[PyTree, PyTree]:
    """What can be differentiated in `tree`, and the rest; `equinox.combine` puts them together."""
    return eqx.partition(tree, eqx.is_inexact_array)


def inexact(tree: PyTree) -> PyTree:
    """What can be differentiated in `tree`; None elsewhere."""
    return eqx.filter(tree, eqx.is_inexact_array)
