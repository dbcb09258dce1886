"""`Parallel`: all steps at once, for cells whose family has an algorithm for it."""

import dataclasses
from typing import Literal

from .._core.container import AbstractContainer
from .._core.errors import bad_input
from .._core.method import AbstractMethod
from .._core.validation import check_count
from .readouts import has_steps, solve_without_steps


@dataclasses.dataclass(frozen=True)
class Parallel(AbstractMethod):
    """All steps at once, for cells with a linear state update or a window of past inputs. The
    algorithm depends on the family.

    Diagonal cells: the maps s ↦ a ∘ s + b of chunks of steps are composed side by side, joined in
    log₂(time / chunk_size) levels, and the states within the chunks follow from those between them.
    Every mode of differentiation works, and keeps the states and the maps over time; `remat_every`
    bounds both. A product of many factors above 1 overflows though the states are finite: bound it
    by `remat_every`, or use `Scan`. With `kernel`, the states come from one kernel over time: it
    reads the maps once, in order, and writes the states. Where a step has few entries, a pass over
    chunks side by side comes before it. The backward pass runs the same kernel the other way.

    Block-diagonal cells: the same with the maps s ↦ A s + b of small blocks.

    Fast weights: chunks one after another, each as a few products of matrices; on a GPU all but one
    product per chunk is computed for many chunks side by side. One state per chunk is kept, and
    none per step. With perturbations, or when all states are asked for, it is `Scan`. With
    `kernel`, those of jax-linear-attention 0.1.0 run on a Hopper GPU, with JAX 0.11.2 alone, cells
    with parameters of bfloat16 that add to their matrices or remove from the key that they write:
    factors of products are bfloat16 and readings are rounded to it, sums and matrices are float32.
    Where a log-decay is below −16 or above 0, or a write is not finite, the program runs chunks
    instead. There are no second derivatives.

    Windows: one convolution, or banded attention; with perturbations, or when all states are asked
    for, it is `Scan`.

    Args:
        chunk_size: steps of one chunk; None is the family's own: 16 for diagonal and block-diagonal
            cells, 64 for fast weights. Windows and pointwise layers do not use it. Diagonal cells
            run one chunk of all of time as a loop, and a kernel chooses its own.
        kernel: run diagonal cells by a kernel: that for TPU, or that for NVIDIA GPUs of the Hopper
            generation, whichever the program is traced for (see `seqmem.target_platform`), in
            float32; and fast weights by kernels for Hopper (`pip install 'seqmem[hopper]'`).
            "interpret" interprets the kernel for TPU on any platform, slowly, for tests.
            No time was measured on an accelerator, so it is not the default.

    Raises:
        ValueError: for a chunk size that is not a whole number of at least 1 or another `kernel`,
            and, when run, for a cell of another family, or where no kernel can run: on a CPU, for a
            family that has none, with a batch that is spread over devices, with a state of another
            precision, and on a GPU with a version of jax for which the kernel was not tested.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.MinGRU(3, 5, key=jax.random.key(0))
        >>> xs = jax.numpy.ones((100, 3))
        >>> state, ys = seqmem.unroll(cell, None, xs, method=seqmem.Parallel())
        >>> ys.shape
        (100, 5)
    """

    chunk_size: int | None = None
    kernel: bool | Literal["interpret"] = False

    def __post_init__(self):
        if self.kernel not in (False, True, "interpret"):
            raise bad_input(
                f"Parallel got kernel={self.kernel!r}.",
                'True, False or "interpret".',
                "leave it out: Parallel() needs no kernel.",
            )
        if self.chunk_size is not None:
            check_count(
                "Parallel", "chunk_size", self.chunk_size, remedy="leave it out for the default."
            )

    def run(self, problem):
        parallel = problem.cell.family.parallel
        if parallel is None:
            is_network = isinstance(problem.cell, AbstractContainer)
            raise bad_input(
                f"Parallel got a cell of type {type(problem.cell).__name__}.",
                "a cell with a linear state update: a diagonal or fast-weight cell, or a window.",
                "use method=seqmem.layers.LayerByLayer(), which runs each layer by its own method."
                if is_network
                else "use method=seqmem.Newton() for all steps at once, or seqmem.Scan(), which "
                "runs every cell.",
            )
        if self.kernel and not problem.cell.family.has_kernel:
            raise bad_input(
                f"Parallel(kernel={self.kernel!r}) got {type(problem.cell).__name__}, and its "
                f"family, {problem.cell.family.name!r}, has no kernel.",
                "a diagonal or fast-weight cell, such as seqmem.LRU or seqmem.GLA.",
                "use method=seqmem.Parallel(); in a network, seqmem.layers.LayerByLayer with a "
                "method for each layer.",
            )
        if not has_steps(problem):
            return solve_without_steps(problem)
        return parallel(problem, self)
