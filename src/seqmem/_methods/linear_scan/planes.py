"""Diagonal maps as planes of real numbers, which a kernel reads, and the arithmetic of one step.

A real array is one plane, a complex array two: real and imaginary parts.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..recurrence import AffineMap

Planes = tuple[Array, ...]


class MapPlanes(NamedTuple):
    """The map s ↦ a ∘ s + b, and s ↦ b where `cut` is not 0.

    Attributes:
        a: one plane, or two.
        b: as many planes as `a`.
        cut: one plane of 0 and 1, or none where nothing is cut.
    """

    a: Planes
    b: Planes
    cut: Planes


def to_planes(array: Array) -> Planes:
    """The planes of an array."""
    return (array.real, array.imag) if jnp.iscomplexobj(array) else (array,)


def from_planes(planes: Planes) -> Array:
    """The array of one plane or of two."""
    return jax.lax.complex(*planes) if len(planes) == 2 else planes[0]


def map_planes(maps: AffineMap) -> MapPlanes:
    """The planes of maps, all of one dtype."""
    a, b, cut = maps
    flags = () if cut is None else (cut.astype(b.real.dtype),)
    return MapPlanes(to_planes(a), to_planes(b), flags)


def apply(state: Planes, row: MapPlanes) -> Planes:
    """The state after a map."""
    after = (p + b for p, b in zip(multiply(row.a, state), row.b, strict=True))
    if not row.cut:
        return tuple(after)
    return tuple(jnp.where(row.cut[0] != 0, b, s) for b, s in zip(row.b, after, strict=True))


def compose(first: MapPlanes, then: MapPlanes) -> MapPlanes:
    """The map `then` after `first`. Its `a` has no meaning where it is cut."""
    cut = tuple(map(jnp.maximum, first.cut, then.cut))
    return MapPlanes(multiply(then.a, first.a), apply(first.b, then), cut)


def multiply(a: Planes, b: Planes) -> Planes:
    """a ∘ b."""
    if len(a) == 1:
        return (a[0] * b[0],)
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]
