"""The kernel for TPU, in Pallas; anywhere by interpretation. Tested with jax 0.10.2, 0.11.2
and 0.12.0.1.

A step is a few tiles of 8 × 128 entries, the carry stays in fast memory, and the compiler's
pipeline brings a tile of time while the one before is computed. A TPU core runs one block after
another, so chunks of time are not for more blocks: they fill the eight rows of a tile where a step
has fewer.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, PyTree

from ..._core.shard_map import match_varying_axes
from .kernel import AbstractKernel, Layout, power_of_two, split_evenly

SUBLANES, LANES = 8, 128  # the tile of the vector unit
WIDTHS = (512, 256, LANES)
ENTRIES = 4096  # of a step in a block: four tiles, to hide the latency of the arithmetic
FAST_MEMORY = 2**23  # bytes for the tiles of all arrays, half of what a kernel may take
MOST_STEPS, LEAST_CHUNK = 128, 64
UNROLL = 8


@dataclasses.dataclass(frozen=True)
class TPUKernel(AbstractKernel):
    """The kernel for TPU.

    Args:
        interpret: as for `jax.experimental.pallas.pallas_call`.
    """

    interpret: Any = False

    def layout_of(self, shape, num_planes, chunk_size):
        time, *rest = shape
        size = math.prod(rest)
        # Steps of whole tiles lie in memory as they are run; others are copied into whole rows.
        is_tiled = len(rest) > 1 and rest[-1] % LANES == 0 and size % (SUBLANES * rest[-1]) == 0
        lanes = rest[-1] if is_tiled else LANES
        rows = max(1, math.ceil(size / lanes))
        if chunk_size is None:
            count = min(SUBLANES // rows, time // LEAST_CHUNK)
            chunk_size = math.ceil(time / power_of_two(count))
        bytes_per_step = 2 * num_planes * ENTRIES * 4  # one tile is brought as one is computed
        most = power_of_two(min(FAST_MEMORY // bytes_per_step, MOST_STEPS))
        tiles, tile = split_evenly(min(chunk_size, time), most)
        chunks = math.ceil(time / (tile * tiles))
        width = next(width for width in WIDTHS if lanes % width == 0)
        groups = math.ceil(chunks * rows / SUBLANES)
        most = ENTRIES // (width * SUBLANES)
        height = SUBLANES * next(n for n in range(most, 0, -1) if groups % n == 0)
        return Layout(chunks, tile, tiles, (rows, lanes), (height, width))

    def scan(self, advance, start, rows, layout, *, reverse, every_step):
        start, rows = match_varying_axes((start, rows))
        start = jax.tree.map(lambda leaf: _fold(layout, leaf[:, None])[0], start)
        rows = jax.tree.map(functools.partial(_fold, layout), rows)
        height, lanes = jax.tree.leaves(start)[0].shape
        grid = (height // layout.block[0], lanes // layout.block[1], layout.tiles)

        def spec_over_time(leaf: Array) -> pl.BlockSpec:
            def index(row: Any, column: Any, i: Any) -> Any:
                return layout.tiles - 1 - i if reverse else i, row, column

            return pl.BlockSpec((layout.tile, *layout.block), index)

        def spec(leaf: Array) -> pl.BlockSpec:
            return pl.BlockSpec(layout.block, lambda row, column, i: (row, column))

        time = (layout.chunk,) if every_step else ()
        call = pl.pallas_call(
            functools.partial(_run_tile, advance, layout, reverse, every_step),
            grid=grid,
            in_specs=[jax.tree.map(spec, start), jax.tree.map(spec_over_time, rows)],
            out_specs=[jax.tree.map(spec_over_time if every_step else spec, start)],
            out_shape=[jax.tree.map(lambda leaf: _result_type((*time, *leaf.shape), leaf), start)],
            scratch_shapes=[jax.tree.map(lambda leaf: pltpu.VMEM(layout.block, leaf.dtype), start)],
            name="linear_scan" if every_step else "linear_scan_of_chunks",
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=("parallel", "parallel", "arbitrary")
            ),
            interpret=self.interpret,
        )
        (result,) = call(start, rows)
        if every_step:
            return jax.tree.map(functools.partial(_unfold, layout), result)
        return jax.tree.map(lambda leaf: _unfold(layout, leaf[None])[:, 0], result)


def _run_tile(
    advance: Callable, layout: Layout, reverse: bool, every_step: bool, *refs: PyTree
) -> None:
    """One tile of time of one block. The carry is kept from tile to tile in scratch memory."""
    start, rows, result, carry = refs

    @pl.when(pl.program_id(2) == 0)
    def _():
        _write(carry, _read(start))

    # The loop's own index is int64 where that is the default, which Mosaic does not know.
    first, by = (layout.tile - 1, -1) if reverse else (0, 1)

    def step(_: Any, loop: tuple[Array, PyTree]) -> tuple[Array, PyTree]:
        t, state = loop
        state = advance(state, jax.tree.map(lambda ref: ref[t], rows))
        if every_step:
            jax.tree.map(lambda ref, leaf: ref.__setitem__(t, leaf), result, state)
        return t + np.int32(by), state

    loop = jnp.int32(first), _read(carry)
    unroll = math.gcd(UNROLL, layout.tile)
    _write(carry, jax.lax.fori_loop(0, layout.tile, step, loop, unroll=unroll)[1])
    if not every_step:

        @pl.when(pl.program_id(2) == layout.tiles - 1)
        def _():
            _write(result, _read(carry))


def _result_type(shape: tuple[int, ...], like: Array) -> jax.ShapeDtypeStruct:
    """The type of a result; inside `jax.shard_map` it varies over devices as `like` does."""
    axes = jax.typeof(like).manual_axis_type  # pyright: ignore
    return jax.ShapeDtypeStruct(shape, like.dtype, manual_axis_type=axes)


def _read(refs: PyTree) -> PyTree:
    return jax.tree.map(lambda ref: ref[...], refs)


def _write(refs: PyTree, values: PyTree) -> None:
    jax.tree.map(lambda ref, value: ref.__setitem__(..., value), refs, values)


def _fold(layout: Layout, plane: Array) -> Array:
    """[chunks, chunk, columns] as [chunk, rows of all chunks, lanes], padded to blocks."""
    chunks, chunk, _ = plane.shape
    plane = plane.reshape(chunks, chunk, *layout.step).swapaxes(0, 1)
    plane = plane.reshape(chunk, chunks * layout.step[0], layout.step[1])
    return jnp.pad(plane, ((0, 0), (0, -plane.shape[1] % layout.block[0]), (0, 0)))


def _unfold(layout: Layout, rows: Array) -> Array:
    """The inverse of `_fold`."""
    rows = rows[:, : layout.chunks * layout.step[0]]
    rows = rows.reshape(len(rows), layout.chunks, *layout.step).swapaxes(0, 1)
    return rows.reshape(*rows.shape[:2], layout.columns)
