"""What the kernels for Hopper can run: which versions of JAX, cells and sizes.

This module does not import Mosaic GPU.
"""

from typing import Any

import jax
import jax.numpy as jnp

from .operations import operations_of
from .parts import NotFusableError, Parts

# Mosaic GPU changes from release to release: those on which the tests of the kernels have run.
TESTED_VERSIONS = ("0.12.0.1",)
HOPPER = "9.0"  # its compute capability
MULTIPROCESSORS = 132  # of an H200
SHARED_MEMORY = 227 * 1024  # bytes that one block may use
RESERVED = 4 * 1024  # bytes for barriers and the alignment of arrays
ROWS = 64  # units of a warpgroup
MOST_ENTRIES = 2**31  # of an array in the main memory: offsets have 32 bits
MOST_WARPGROUPS = 8  # of a block
COLUMNS = 8  # a tile of the batch has a multiple of so many examples
MOST_COLUMNS = 16  # where registers allow
# Of the cells that keep 16 examples in registers: warpgroups, which share those of a block, and the
# planes that the backward loop reads or carries. An SLSTM, with 16 planes, spills (ptxas, sm_90a).
WIDE_WARPGROUPS, WIDE_PLANES = 2, 10

# Operations on planes for which Mosaic GPU has a rule, or `hopper_gates` other operations.
COMPUTED = {
    *("add", "add_any", "sub", "mul", "div", "neg", "abs", "sign", "max", "min", "clamp"),
    *("square", "one_minus_square", "integer_pow", "sqrt", "rsqrt", "exp", "exp2", "log", "log1p"),
    *("logistic", "tanh", "sin", "cos", "erf", "eq", "ne", "ge", "gt", "le", "lt", "and", "or"),
    *("not", "select_n", "broadcast_in_dim", "convert_element_type", "copy", "stop_gradient"),
}


def is_interpreter(interpret: Any) -> bool:
    """Whether these are parameters of the interpreter of Mosaic GPU."""
    return "mosaic_gpu" in type(interpret).__module__


def refusal(interpret: Any = False) -> str | None:
    """Why no kernel for Hopper can be made here, as a clause; None where one can."""
    if jax.__version__ not in TESTED_VERSIONS:
        return (
            f"its kernels for Hopper were tested with JAX {' and '.join(TESTED_VERSIONS)}, and "
            f"this is JAX {jax.__version__}"
        )
    if interpret or jax.default_backend() != "gpu":
        return None
    capability = jax.local_devices()[0].compute_capability
    if capability == HOPPER:
        return None
    return (
        f"its kernels for a GPU are for compute capability {HOPPER}, and this one has {capability}"
    )


def tile_sizes(parts: Parts, time: int, batch: int, products: Any) -> tuple[int, int]:
    """Steps and examples of one tile: one step, and few examples, for all multiprocessors to work.

    Args:
        parts: of the cell.
        time: steps of the run.
        batch: examples of the run.
        products: the dtype of the factors of products.

    Raises:
        NotFusableError: where there is no kernel for the cell, or one tile does not fit.
    """
    _check_operations(parts)
    if parts.units % ROWS or parts.units > ROWS * MOST_WARPGROUPS:
        raise NotFusableError(
            f"it has {parts.units} units, not a multiple of {ROWS} up to {ROWS * MOST_WARPGROUPS}"
        )
    entries = time * parts.num_planes * parts.units * batch
    if entries >= MOST_ENTRIES:
        raise NotFusableError(
            f"its pre-activations have {entries} entries, and a kernel counts to {MOST_ENTRIES}"
        )
    if parts.dtype != jnp.float32:
        raise NotFusableError(f"its state is {jnp.dtype(parts.dtype)}, not float32")
    seeing, itemsize = sum(parts.sees_state), jnp.dtype(products).itemsize
    matrices = seeing * parts.units**2 * itemsize
    column = 2 * seeing * parts.units * itemsize  # of the backward loop, in two buffers
    free = SHARED_MEMORY - RESERVED - matrices
    if free < COLUMNS * column:
        kibibytes = [size / 2**10 for size in (matrices, COLUMNS * column, free + matrices)]
        raise NotFusableError(
            "its matrices take {:.0f} KiB, and the factors of {columns} examples {:.0f} KiB, of "
            "the {:.0f} KiB of shared memory".format(*kibibytes, columns=COLUMNS)
        )
    columns = columns_of(batch)
    if not is_wide(parts, itemsize):
        columns = COLUMNS
    if column:
        columns = min(columns, free // column // COLUMNS * COLUMNS)
    return 1, columns


def columns_of(batch: int) -> int:
    """As few examples in a tile as make no more tiles than multiprocessors, or the most."""
    columns = -(-batch // MULTIPROCESSORS)
    return min(columns + -columns % COLUMNS, MOST_COLUMNS)


def is_wide(parts: Parts, itemsize: int) -> bool:
    """Whether registers hold more than the fewest examples."""
    planes = parts.num_planes + 3 * parts.num_leaves + sum(parts.parameter_planes)
    fits = parts.units <= WIDE_WARPGROUPS * ROWS and planes <= WIDE_PLANES
    return fits and itemsize == 2


def _check_operations(parts: Parts) -> None:
    """Refuse a gate whose value or derivative uses an operation that Mosaic GPU has no rule for."""
    plane = jax.ShapeDtypeStruct((ROWS, COLUMNS), parts.dtype)
    unknown = sorted(operations_of(parts, plane) - COMPUTED)
    if unknown:
        raise NotFusableError(
            f"its gate uses {', '.join(unknown)}, which Mosaic GPU does not compute"
        )
