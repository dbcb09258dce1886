"""The kernel for NVIDIA GPUs of the Hopper generation, in Pallas Mosaic GPU.

One thread runs one column of one chunk with its carry in registers. Tiles of time come through a
ring of buffers in shared memory, by bulk copies of the copy engine (TMA) that are asked for a few
tiles ahead, and the carries leave by the same way. The ring is written out since `emit_pipeline`
stores its results under a predicate, which JAX's interpreter of such kernels does not know.

Mosaic GPU changes from release to release. This file was tested with jax 0.10.2, 0.11.2 and
0.12.0.1 (`choice.HOPPER_VERSIONS`) only: compiled for an H200 and interpreted, never run on one.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, PyTree

from .kernel import AbstractKernel, Layout, power_of_two, split_evenly

COLUMNS = 128  # of a block: one per thread of a warpgroup
STAGES = 4  # of the ring
SHARED_MEMORY = 112 * 2**10  # bytes of a block, so that two are resident on a multiprocessor
MULTIPROCESSORS = 132
MOST_STEPS, LEAST_CHUNK = 16, 64


@dataclasses.dataclass(frozen=True)
class HopperKernel(AbstractKernel):
    """The kernel for Hopper.

    Args:
        interpret: as for `jax.experimental.pallas.mosaic_gpu.kernel`.
    """

    interpret: Any = None

    def layout_of(self, shape, num_planes, chunk_size):
        time, *rest = shape
        blocks = max(1, math.ceil(math.prod(rest) / COLUMNS))
        if chunk_size is None:
            # Two passes read a and b twice: worth it below half of the multiprocessors.
            is_full = 2 * blocks >= MULTIPROCESSORS
            count = 1 if is_full else min(2 * MULTIPROCESSORS // blocks, time // LEAST_CHUNK)
            chunk_size = math.ceil(time / power_of_two(count))
        bytes_per_step = STAGES * num_planes * COLUMNS * 4
        most = power_of_two(min(SHARED_MEMORY // bytes_per_step, MOST_STEPS))
        tiles, tile = split_evenly(min(chunk_size, time), most)
        chunks = math.ceil(time / (tile * tiles))
        return Layout(chunks, tile, tiles, (blocks * COLUMNS,), (COLUMNS,))

    def scan(self, advance, start, rows, layout, *, reverse, every_step):
        time = layout.chunks * (layout.chunk if every_step else 1)
        result = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((time, layout.columns), leaf.dtype), start
        )
        rows = jax.tree.map(lambda leaf: leaf.reshape(-1, layout.columns), rows)
        operands, structure = jax.tree.flatten((start, rows))
        ring = plgpu.SMEM((_stages(layout), layout.tile, COLUMNS), jnp.float32)
        num_rows, num_results = len(jax.tree.leaves(rows)), len(jax.tree.leaves(result))
        run = _Run(advance, layout, reverse, every_step, structure)
        kernel = plgpu.kernel(
            functools.partial(_run_chunk, run),
            out_type=jax.tree.leaves(result),
            grid=(layout.columns // COLUMNS, layout.chunks),
            grid_names=("column", "chunk"),
            kernel_name="linear_scan" if every_step else "linear_scan_of_chunks",
            scratch_types=[
                [ring] * num_rows,
                [ring] * (num_results if every_step else 0),
                plgpu.Barrier(num_arrivals=num_rows, num_barriers=_stages(layout)),
            ],
            **({} if self.interpret is None else {"interpret": self.interpret}),
        )
        result = jax.tree.unflatten(jax.tree.structure(start), kernel(*operands))
        if every_step:
            shape = (layout.chunks, layout.chunk, layout.columns)
            return jax.tree.map(lambda leaf: leaf.reshape(shape), result)
        return result


class _Run(NamedTuple):
    """The arguments of `HopperKernel.scan` that are no arrays, and the tree of those that are."""

    advance: Callable
    layout: Layout
    reverse: bool
    every_step: bool
    operands: Any


def _stages(layout: Layout) -> int:
    return min(STAGES, layout.tiles)


def _run_chunk(run: _Run, *refs: PyTree) -> None:
    """One chunk of one block of columns."""
    layout, stages = run.layout, _stages(run.layout)
    num_operands = run.operands.num_leaves
    start, rows = run.operands.unflatten(refs[:num_operands])
    results, (row_ring, result_ring, is_filled) = refs[num_operands:-3], refs[-3:]
    columns = pl.ds(jax.lax.axis_index("column") * COLUMNS, COLUMNS)
    chunk = jax.lax.axis_index("chunk")

    def steps(index: Any) -> Any:
        """The steps of the tile that is run after `index` others."""
        place = layout.tiles - 1 - index if run.reverse else index
        return pl.ds(chunk * layout.chunk + place * layout.tile, layout.tile)

    def fetch(index: Any, slot: Any) -> None:
        for ref, ring in zip(jax.tree.leaves(rows), row_ring, strict=True):
            source = ref.at[steps(index), columns]
            plgpu.copy_gmem_to_smem(source, ring.at[slot], is_filled.at[slot])

    def run_tile(index: Array, carry: PyTree) -> PyTree:
        slot = jax.lax.rem(index, stages)
        plgpu.barrier_wait(is_filled.at[slot])
        # The results that the slot held have been read by their copies.
        plgpu.wait_smem_to_gmem(stages - 1, wait_read_only=True)
        for t in reversed(range(layout.tile)) if run.reverse else range(layout.tile):
            row = jax.tree.structure(rows).unflatten([ring[slot, t] for ring in row_ring])
            carry = run.advance(carry, row)
            if run.every_step:
                for ring, leaf in zip(result_ring, jax.tree.leaves(carry), strict=True):
                    ring[slot, t] = leaf
        plgpu.commit_smem()  # every thread is done with the slot
        for ring, ref in zip(result_ring, results, strict=False):
            target = ref.at[steps(index), columns]
            plgpu.copy_smem_to_gmem(ring.at[slot], target, commit_group=False)
        plgpu.commit_smem_to_gmem_group()

        @pl.when(index + stages < layout.tiles)
        def _():
            fetch(index + stages, slot)

        return carry

    for slot in range(stages):
        fetch(slot, slot)
    carry = jax.tree.map(lambda ref: ref[chunk, columns], start)
    carry = jax.lax.fori_loop(0, layout.tiles, run_tile, carry)
    if not run.every_step:
        for ref, leaf in zip(results, jax.tree.leaves(carry), strict=True):
            ref[chunk, columns] = leaf
    plgpu.wait_smem_to_gmem(0)
