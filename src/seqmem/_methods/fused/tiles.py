"""How time and batch are cut, so that what a kernel holds fits into fast memory."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .parts import NotFusableError, Parts

ROWS = 8  # a tile of the batch has a multiple of so many examples
MOST_ROWS = 128
MOST_STEPS = 32
FAST_MEMORY = 12 * 2**20  # bytes of VMEM; the compiler's limit for one kernel is 16 MiB by default


class Tiles(NamedTuple):
    """What one run of a kernel's body holds, and how it is made.

    Attributes:
        time: steps.
        batch: examples.
        reverse: whether the last step is run first.
        interpret: whether the kernel runs as ordinary operations, on any platform.
    """

    time: int
    batch: int
    reverse: bool
    interpret: Any


def tile_sizes(parts: Parts, time: int, batch: int, products: Any) -> tuple[int, int]:
    """Steps and examples of one tile.

    Args:
        parts: of the cell.
        time: steps of the run.
        batch: examples of the run.
        products: the dtype of the factors of products.

    Raises:
        NotFusableError: where one step of a few examples does not fit along with the matrices.
    """
    matrices = sum(parts.sees_state) * parts.units**2 * jnp.dtype(products).itemsize
    # The larger of both kernels reads and writes z or states: each array twice, for the next tile.
    row = 2 * (2 * parts.num_planes + 3 * parts.num_leaves) * parts.units * parts.dtype.itemsize
    rows = min(batch + -batch % ROWS, MOST_ROWS)
    steps = 0
    while rows >= ROWS:
        steps = (FAST_MEMORY - matrices) // (row * rows)
        if steps >= min(time, ROWS) or rows == ROWS:
            break
        rows = max(ROWS, rows // 2 // ROWS * ROWS)
    if steps < 1:
        mebibytes = [size / 2**20 for size in (matrices, row * ROWS, FAST_MEMORY)]
        raise NotFusableError(
            "its matrices take {:.1f} MiB, and a step of 8 examples {:.1f} MiB, of the {:.0f} MiB "
            "of fast memory".format(*mebibytes)
        )
    return min(time, steps, MOST_STEPS), rows


def pad(tree: PyTree, axis: int, size: int) -> PyTree:
    """Zeros after the last entries of an axis, up to a multiple of `size`."""

    def extend(leaf: Any) -> Any:
        widths = [(0, 0)] * leaf.ndim
        widths[axis] = (0, -leaf.shape[axis] % size)
        return jnp.pad(leaf, widths)

    return jax.tree.map(extend, tree)
