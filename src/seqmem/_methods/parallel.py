"""All of time at once, for memories that move linearly."""

import dataclasses
import functools

import jax
from jaxtyping import PyTree

from .recurrence import affine_states
from .._core.cell import AbstractCell, Inputs, State
from .._cells.diagonal.base import AbstractDiagonalCell
from .._cells.diagonal.maps import map_of_step
from .._core.errors import bad_input
from .._core.batching import each
from .._core.method import AbstractMethod
from .scan.bptt import show, shown_from

DIAGONAL_BLOCK = 16


@dataclasses.dataclass(frozen=True)
class Parallel(AbstractMethod):
    """All steps at once, for cells whose state moves linearly or is a window of what entered last.
    How is the family's affair.

    Diagonal cells: the maps s ↦ a ∘ s + b of blocks of steps are made side by side, joined in
    log₂(time / block) levels, and the states within the blocks follow from those between them.
    Everything is differentiable in every mode, and keeps the states and the maps over time; `chunk`
    bounds both. A product of many factors of more than 1 overflows though the states are finite:
    bound it by `chunk`, or use `Scan`.

    Fast weights: blocks one after another, each as a few products of matrices; one state per block
    is kept, and none per step. With perturbations, which have the size of all states, it is `Scan`.

    Windows: one convolution, or attention in a band; with perturbations it is `Scan`.

    Args:
        block: steps of one block; None is the family's own: 16 for diagonal cells, 64 for fast
            weights; windows have no use for it. Diagonal cells run a block of all of time as one
            loop.

    Raises:
        ValueError: for a block below 1, and, when run, for a cell of another family.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.MinGRU(3, 5, key=jax.random.key(0))
        >>> xs = jax.numpy.ones((100, 3))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), xs, method=seqmem.Parallel())
        >>> ys.shape
        (100, 5)
    """

    block: int | None = None

    def __post_init__(self):
        if self.block is not None and self.block < 1:
            raise bad_input(
                f"Parallel(chunk_size={self.block}).",
                "a number of steps, at least 1, or None.",
                "leave it out for the family's own.",
            )

    def run(self, cell, init, state, inputs, *, batch_axes, reverse):
        return in_parallel(
            cell,
            init,
            state,
            inputs,
            batch_axes=batch_axes,
            reverse=reverse,
            block=self.block,
        )


@functools.singledispatch
def in_parallel(
    cell: AbstractCell,
    init: State,
    state: State,
    inputs: Inputs,
    *,
    batch_axes: int,
    reverse: bool,
    block: int | None,
) -> tuple[State, PyTree]:
    """`AbstractMethod.run`, all steps at once; a family that can registers how."""
    raise bad_input(
        f"Parallel got a cell of type {type(cell).__name__}.",
        "a cell whose state moves linearly, of the diagonal or the fast-weight family.",
        "use method=seqmem.Newton() for all steps at once, or seqmem.Scan(), which runs every "
        "cell.",
    )


@in_parallel.register
def _(cell: AbstractDiagonalCell, init, state, inputs, *, batch_axes, reverse, block):
    x, marks = inputs
    if not inputs.time:
        return state, shown_from(batch_axes, cell, init, x)

    maps = each(functools.partial(map_of_step, init), cell, batch_axes, time=True)
    a, b, cut = maps(x, marks)
    solve = functools.partial(affine_states, reverse=reverse, block=block or DIAGONAL_BLOCK)
    if cut is None:
        states = jax.tree.map(solve, a, b, state)
    else:
        states = jax.tree.map(solve, a, b, state, cut)
    ys = show(batch_axes, cell, states, x)
    return jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states), ys
