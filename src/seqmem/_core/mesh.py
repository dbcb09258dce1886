"""Arrays on a mesh of devices: what their types say about it.

The type of an array names its mesh. Where it is on the axes of type Explicit is a part of the type
too, so every operation must say where its result is. On axes of type Auto only XLA knows.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree


def mesh_of(tree: PyTree) -> AbstractMesh | None:
    """The mesh of the first array that is on one, or None."""
    meshes = (jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(tree))
    return next((mesh for mesh in meshes if not mesh.empty), None)


def leading_spec(tree: PyTree, axes: int) -> PartitionSpec:
    """The Explicit mesh axes over which the first axes of arrays are spread."""
    specs = [jax.typeof(leaf).sharding.spec[:axes] for leaf in jax.tree.leaves(tree)]
    by_axis = zip(*specs, strict=True)
    return PartitionSpec(*(next(filter(None, entries), None) for entries in by_axis))


def num_shares(mesh: AbstractMesh | None, spec: PartitionSpec, batch: Sequence[int]) -> int:
    """Into how many shares the first batch axis is split over devices.

    Over the Auto axes it is taken to be spread, as far as they divide it.

    Args:
        mesh: the mesh that the arrays are on.
        spec: the Explicit mesh axes over which time and the batch axes are spread.
        batch: the sizes of the batch axes.
    """
    if mesh is None or not batch or not isinstance(batch[0], int):
        return 1
    names = spec[1] or ()
    names = {*mesh.auto_axes, *(names if isinstance(names, tuple) else (names,))}
    shares = math.prod(mesh.shape[name] for name in names)
    return shares if batch[0] % shares == 0 else 1


def shardings_of(mesh: AbstractMesh, spec: PartitionSpec) -> tuple[Any, Any]:
    """Of arrays with the axes [*batch, ...] and [time, *batch, ...]."""
    return NamedSharding(mesh, PartitionSpec(*spec[1:])), NamedSharding(mesh, spec)
