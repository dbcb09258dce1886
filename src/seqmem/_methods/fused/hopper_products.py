"""Products of a Hopper kernel: matrices that stay in shared memory, factors that pass through it.

A tensor core reads both factors of tensorfloat32 from rows along the axis that is summed over. The
matrices have such rows as they come, and a warpgroup writes its factor transposed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from .hopper_access import ROWS, Place
from .hopper_mosaic import plgpu, write

SWIZZLE = 128  # bytes of a row that are stored together
BUFFERS = 2


class Factors(NamedTuple):
    """References to what is multiplied.

    Attributes:
        matrices: [plane, units out, units in], in shared memory.
        columns: the other factors, [buffer, factor, batch, units in], in shared memory.
        is_loaded: a barrier for each warpgroup: its rows of the matrices have arrived.
        is_written: the barrier of all warpgroups: a factor of this step has been written.
    """

    matrices: Any
    columns: Any
    is_loaded: Any
    is_written: Any


def factors_in_shared_memory(matrices: Any, num_factors: int, batch: int) -> Factors | None:
    """What a kernel allocates; None without a matrix.

    Args:
        matrices: [plane, units, units], or None.
        num_factors: that a step writes.
        batch: examples of a tile.
    """
    if matrices is None:
        return None
    planes, units, _ = matrices.shape
    dtype = matrices.dtype
    entries = SWIZZLE // jnp.dtype(dtype).itemsize
    transforms = (plgpu.TilingTransform((8, entries)), plgpu.SwizzleTransform(SWIZZLE))
    warpgroups = units // ROWS
    return Factors(
        plgpu.SMEM((planes, units, units), dtype, transforms=transforms),
        plgpu.SMEM((BUFFERS, num_factors, batch, units), dtype, transforms=transforms),
        plgpu.Barrier(num_arrivals=planes, num_barriers=warpgroups),
        plgpu.Barrier(num_arrivals=warpgroups),
    )


def load_matrices(place: Place, matrices: Any, factors: Factors) -> None:
    """Copy a warpgroup's rows of the matrices to shared memory."""
    is_loaded = factors.is_loaded.at[place.warpgroup]
    for plane in range(matrices.shape[0]):
        rows = (plane, place.units)
        plgpu.copy_gmem_to_smem(matrices.at[rows], factors.matrices.at[rows], is_loaded)
    plgpu.barrier_wait(is_loaded)


def multiply(
    place: Place, factors: Factors | None, index: jax.Array, factor: jax.Array
) -> list[jax.Array]:
    """The product of each matrix and the same factor, [units in, batch].

    Args:
        place: of the warpgroup.
        factors: in shared memory; None is no matrix.
        index: how many steps were run before.
        factor: the rows of this warpgroup.
    """
    if factors is None:
        return []
    buffer = _share(place, factors, index, [factor])

    def products(*sums: Any) -> list[jax.Array]:
        for plane, sum_ref in enumerate(sums):
            rows = factors.matrices.at[plane, place.units]
            plgpu.wgmma(sum_ref, rows, factors.columns.at[buffer, 0].T)
        plgpu.wgmma_wait(0)
        return [sum_ref[...] for sum_ref in sums]

    sums = [plgpu.ACC(place.shape, jnp.float32)] * factors.matrices.shape[0]
    return pl.run_scoped(products, *sums)


def multiply_and_add(
    place: Place, factors: Factors | None, index: jax.Array, columns: list[jax.Array]
) -> jax.Array | None:
    """The sum of the products of each matrix and its own factor; None without a matrix.

    Args:
        place: of the warpgroup.
        factors: in shared memory; None is no matrix.
        index: how many steps were run before.
        columns: the rows of this warpgroup of every factor.
    """
    if factors is None:
        return None
    buffer = _share(place, factors, index, columns)

    def product(sum_ref: Any) -> jax.Array:
        for plane in range(len(columns)):
            rows = factors.matrices.at[plane, place.units]
            plgpu.wgmma(sum_ref, rows, factors.columns.at[buffer, plane].T)
        return sum_ref[...]

    return pl.run_scoped(product, plgpu.ACC(place.shape, jnp.float32))


def _share(place: Place, factors: Factors, index: jax.Array, columns: list[jax.Array]) -> Any:
    """Write the rows of one warpgroup and wait for all others; the buffer that holds them."""
    buffer = jax.lax.rem(index, BUFFERS)
    for number, column in enumerate(columns):
        column = column.astype(factors.columns.dtype)
        if column.dtype.itemsize == 4:
            column = plgpu.layout_cast(column, plgpu.Layout.WGMMA_TRANSPOSED)
        ref = factors.columns.at[buffer, number, :, place.units].T
        write(ref, column)
    plgpu.commit_smem()
    plgpu.barrier_arrive(factors.is_written)
    plgpu.barrier_wait(factors.is_written)
    return buffer
