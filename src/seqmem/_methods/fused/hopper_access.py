"""What a warpgroup of a Hopper kernel reads and writes of the main memory: its planes.

A plane is [64 units, examples of the tile], in registers as tensor cores leave their results.
"""

from typing import Any, NamedTuple

import jax
from jax.experimental import pallas as pl

from .hopper_mosaic import plgpu, write
from .tiles import Tiles

ROWS = 64  # units of one warpgroup: the rows of one product of tensor cores
BLOCKS, WARPGROUPS = "blocks", "warpgroups"


class Place(NamedTuple):
    """Which planes are a warpgroup's.

    Attributes:
        warpgroup: its number in its block.
        units: its units.
        batch: its examples.
        shape: of a plane.
    """

    warpgroup: jax.Array
    units: Any
    batch: Any
    shape: tuple[int, int]


def place_of(tiles: Tiles) -> Place:
    """The place of the warpgroup that runs."""
    warpgroup = jax.lax.axis_index(WARPGROUPS)
    block = jax.lax.axis_index(BLOCKS)
    return Place(
        warpgroup,
        pl.ds(warpgroup * ROWS, ROWS),
        pl.ds(block * tiles.batch, tiles.batch),
        (ROWS, tiles.batch),
    )


def load(place: Place, ref: Any, *index: Any) -> jax.Array:
    """A plane of [*index axes, units, batch]."""
    plane = ref.at[(*index, place.units, place.batch)]
    return plgpu.load(plane, layout=plgpu.Layout.WGMMA, optimized=False)


def store(place: Place, ref: Any, plane: jax.Array, *index: Any) -> None:
    """Write a plane of [*index axes, units, batch]."""
    write(ref.at[(*index, place.units, place.batch)], plane)


def flag_of(place: Place, ref: Any, t: Any) -> jax.Array | None:
    """The flags [time, batch] of one step as a plane; None where there are none."""
    if ref is None:
        return None
    row = plgpu.load(ref.at[t, place.batch], layout=plgpu.Layout.WGMMA.reduce(0), optimized=False)
    return jax.lax.broadcast_in_dim(row, place.shape, (1,))


def rows_of(place: Place, ref: Any) -> list[jax.Array]:
    """Parameters [plane, units] as planes whose columns are all alike."""

    def plane(number: int) -> jax.Array:
        column = plgpu.load(
            ref.at[number, place.units], layout=plgpu.Layout.WGMMA.reduce(1), optimized=False
        )
        return jax.lax.broadcast_in_dim(column, place.shape, (0,))

    return [plane(number) for number in range(ref.shape[0])]
