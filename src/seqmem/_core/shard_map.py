"""Inside `jax.shard_map`: varying manual axes, the mesh axes over which an array differs."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


def match_varying_axes(tree: PyTree) -> PyTree:
    """`tree`, each leaf cast to vary over all mesh axes over which any leaf varies.

    The carry of a loop and a gradient rule keep one type, so replicated parameters are cast before
    they meet sharded inputs; the transpose of the cast sums their gradient over the devices.
    Outside `shard_map` it does nothing.
    """
    axes = set().union(*map(varying_axes, jax.tree.leaves(tree)))

    def cast(leaf: Array) -> Array:
        leaf = jnp.asarray(leaf)
        missing = tuple(sorted(axes - varying_axes(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(cast, tree) if axes else tree


def varying_axes(leaf: Array) -> frozenset[str]:
    """The mesh axes over which an array differs; none outside `shard_map`."""
    return jax.typeof(leaf).manual_axis_type.varying  # pyright: ignore
