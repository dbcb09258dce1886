"""Inside of `jax.shard_map`: which arrays differ from device to device."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


def match_varying_axes(tree: PyTree) -> PyTree:
    """`tree`, each leaf said to differ over all mesh axes over which any leaf does.

    A loop's carry and a gradient rule keep one type, so a replicated parameter beside sharded
    inputs is cast before; the transpose of the cast sums its gradient over the devices. Outside of
    `shard_map` nothing is done.
    """
    axes = set().union(*map(_varying, jax.tree.leaves(tree)))

    def cast(leaf: Array) -> Array:
        leaf = jnp.asarray(leaf)
        missing = tuple(sorted(axes - _varying(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(cast, tree) if axes else tree


def _varying(leaf: Array) -> frozenset[str]:
    return jax.typeof(leaf).manual_axis_type.varying  # pyright: ignore
