"""Gradients of parameters summed per device: one sum for each share of the batch.

XLA follows a product that sums over a batch on several devices by a sum over devices: in the loop
over tiles, one for each tile. The sum over a share of the batch needs one device, so the loop keeps
one sum for each share, and they are added after it, which is one sum over devices.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.batching import is_per_example
from ..._core.cell import AbstractCell


def pull_in_shares(
    pull: Callable[..., tuple[PyTree, ...]], shares: int, cell: AbstractCell, *args: PyTree
) -> tuple[PyTree, ...]:
    """`pull(cell, *args)`, the cotangents of the cell in shares.

    Args:
        pull: (cell, *args) -> cotangents of the cell, and of other things.
        shares: how many; they divide the first batch axis.
        cell: the cell.
        args: trees of arrays [time, *batch, ...], like the other cotangents.
    """
    if shares == 1:
        return pull(cell, *args)

    def split(leaf: Array, axis: int) -> Array:
        before, after = leaf.shape[:axis], leaf.shape[axis + 1 :]
        return leaf.reshape(*before, shares, leaf.shape[axis] // shares, *after)

    def pull_share(per_example: PyTree, args: tuple) -> tuple[PyTree, tuple]:
        d_cell, *others = pull(eqx.combine(per_example, shared), *args)
        return d_cell, tuple(others)

    is_split = _map_parts(cell, lambda _: True, lambda _: False)
    per_example, shared = eqx.partition(cell, is_split)
    per_example = jax.tree.map(lambda leaf: split(leaf, 0), per_example)
    args = jax.tree.map(lambda leaf: split(leaf, 1), args)
    run = jax.vmap(pull_share, in_axes=(0, 1), out_axes=(0, 1))
    d_cell, others = run(per_example, args)
    return d_cell, *jax.tree.map(lambda leaf: _merge(leaf, 1), others)


def zeros_in_shares(cell: PyTree, shares: int) -> PyTree:
    """Zeros like the cotangents of a cell in shares."""
    if shares == 1:
        return jax.tree.map(jnp.zeros_like, cell)
    return _map_parts(
        cell,
        lambda leaf: jnp.zeros_like(leaf.reshape(shares, -1, *leaf.shape[1:])),
        lambda leaf: jnp.zeros((shares, *leaf.shape), leaf.dtype),
    )


def sum_of_shares(d_cell: PyTree, shares: int) -> PyTree:
    """The cotangents of a cell from those in shares."""
    if shares == 1:
        return d_cell
    return _map_parts(d_cell, lambda leaf: _merge(leaf, 0), lambda leaf: leaf.sum(0))


def _merge(leaf: Array, axis: int) -> Array:
    return leaf.reshape(*leaf.shape[:axis], -1, *leaf.shape[axis + 2 :])


def _map_parts(cell: PyTree, per_example: Callable, shared: Callable) -> PyTree:
    """A tree like the cell: one function of the leaves that differ between examples, and one of the
    others.
    """
    return jax.tree.map(
        lambda node: jax.tree.map(per_example, node) if is_per_example(node) else shared(node),
        cell,
        is_leaf=is_per_example,
    )
