"""`Parallel`: all steps at once, for cells whose family has an algorithm for it."""

import dataclasses

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
    by `remat_every`, or use `Scan`.

    Fast weights: chunks one after another, each as a few products of matrices; on a GPU all but one
    product per chunk is computed for many chunks side by side. One state per chunk is kept, and
    none per step. With perturbations, or when all states are asked for, it is `Scan`.

    Windows: one convolution, or banded attention; with perturbations, or when all states are asked
    for, it is `Scan`.

    Args:
        chunk_size: steps of one chunk; None is the family's own: 16 for diagonal cells, 64 for fast
            weights. Windows and pointwise layers do not use it. Diagonal cells run one chunk of all
            of time as a loop.

    Raises:
        ValueError: for a chunk size that is not a whole number of at least 1, and, when run, for a
            cell of another family.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.MinGRU(3, 5, key=jax.random.key(0))
        >>> xs = jax.numpy.ones((100, 3))
        >>> state, ys = seqmem.unroll(cell, None, xs, method=seqmem.Parallel())
        >>> ys.shape
        (100, 5)
    """

    chunk_size: int | None = None

    def __post_init__(self):
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
        if not has_steps(problem):
            return solve_without_steps(problem)
        return parallel(problem, self.chunk_size)
