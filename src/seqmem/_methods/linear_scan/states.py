"""All states of a diagonal recurrence by a kernel: once over time, or twice by chunks side by side.

Where a step has few entries, one pass over time keeps too few of them in flight to fill a device.
Then time is cut into chunks. The first pass composes the maps of each chunk and writes one map per
chunk, `associative_scan` joins these, and the second pass runs the chunks from their own starts. It
reads a and b twice, and writes the states once.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .. import recurrence
from .kernel import AbstractKernel, Layout
from .planes import MapPlanes, Planes, apply, compose, from_planes, map_planes, to_planes


def states_by_kernel(
    kernel: AbstractKernel, chunk_size: int | None, maps: recurrence.AffineMap, reverse: bool
) -> Array:
    """The states after each map, from a state of 0.

    Args:
        kernel: of the device.
        chunk_size: about how many steps a chunk has; None leaves it to the kernel.
        maps: (a, b, cut), each [time, ...].
        reverse: whether the last map is run first.
    """
    b = maps[1]
    planes = map_planes(maps)
    num_planes = len(jax.tree.leaves(planes)) + len(planes.b)
    layout = kernel.layout_of(b.shape, num_planes, chunk_size)
    rows = jax.tree.map(functools.partial(_to_chunks, layout, reverse), planes)
    scan = functools.partial(kernel.scan, rows=rows, layout=layout, reverse=reverse)
    start = to_planes(jnp.zeros((layout.chunks, layout.columns), b.dtype))
    if layout.chunks > 1:
        chunk_maps = scan(compose, _identity(start, planes), every_step=False)
        start = _starts_of(chunk_maps, reverse)
    states = scan(apply, start, every_step=True)
    return from_planes(tuple(_from_chunks(plane, b.shape, reverse) for plane in states))


def _identity(zeros: Planes, planes: MapPlanes) -> MapPlanes:
    """The identity of every chunk."""
    one, *others = zeros
    return MapPlanes((jnp.ones_like(one), *others), zeros, tuple(one for _ in planes.cut))


def _starts_of(chunk_maps: MapPlanes, reverse: bool) -> Planes:
    """The state before each chunk, from the map that each chunk is."""
    cut = chunk_maps.cut[0] != 0 if chunk_maps.cut else None
    a = recurrence.cleared(cut, from_planes(chunk_maps.a))
    maps = (a, from_planes(chunk_maps.b), cut)
    ends = jax.lax.associative_scan(recurrence.compose, maps, reverse=reverse)[1]
    zeros = jnp.zeros_like(ends[:1])
    return to_planes(jnp.concatenate([ends[1:], zeros] if reverse else [zeros, ends[:-1]]))


def _to_chunks(layout: Layout, reverse: bool, plane: Array) -> Array:
    """[time, ...] as [chunks, chunk, columns]; the padding is run last."""
    time, size = len(plane), math.prod(plane.shape[1:])
    missing = layout.chunks * layout.chunk - time
    padding = ((missing, 0) if reverse else (0, missing), (0, layout.columns - size))
    plane = jnp.pad(plane.reshape(time, size), padding)
    return plane.reshape(layout.chunks, layout.chunk, layout.columns)


def _from_chunks(rows: Array, shape: tuple[int, ...], reverse: bool) -> Array:
    """[chunks, chunk, columns] as an array of the shape, without padding."""
    time, size = shape[0], math.prod(shape[1:])
    rows = rows.reshape(-1, rows.shape[-1])
    steps = rows[len(rows) - time :] if reverse else rows[:time]
    return steps[:, :size].reshape(shape)
