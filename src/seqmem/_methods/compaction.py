"""Padding anywhere in a sequence: valid steps are moved to its front, and their results back."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree


class Compaction(NamedTuple):
    """The order in which valid steps come first, for every sequence of a batch.

    Attributes:
        order: the steps, valid ones first, each part in its own order.
        lengths: how many steps are valid.
    """

    order: Int[Array, "time *batch"]
    lengths: Int[Array, "*batch"]

    @classmethod
    def of(
        cls, mask: Bool[Array, "time *batch"], lengths: Int[Array, "*batch"] | None
    ) -> "Compaction":
        """For steps that the mask, and the lengths where there are any, call valid."""
        valid = jnp.asarray(mask)
        if lengths is not None:
            steps = jnp.arange(len(valid)).reshape(-1, *[1] * (valid.ndim - 1))
            valid = valid & (steps < lengths)
        return cls(jnp.argsort(~valid, axis=0, stable=True), valid.sum(0))

    def compact(self, tree: PyTree) -> PyTree:
        """Arrays [time, *batch, ...] with the valid steps first."""
        return _take(tree, self.order)

    def expand(self, tree: PyTree) -> PyTree:
        """The inverse of `compact`."""
        return _take(tree, jnp.argsort(self.order, axis=0))


def _take(tree: PyTree, order: Int[Array, "time *batch"]) -> PyTree:
    def take(leaf: Array) -> Array:
        index = order.reshape(order.shape + (1,) * (leaf.ndim - order.ndim))
        return jnp.take_along_axis(jnp.asarray(leaf), index, axis=0)

    return jax.tree.map(take, tree)
