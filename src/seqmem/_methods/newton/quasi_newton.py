"""`QuasiNewton`: all steps at once by Newton's method, with the diagonals of the Jacobians."""

import dataclasses

import jax
import jax.numpy as jnp

from ..._core.method import AbstractMethod
from ..._core.step import advance, apply_reset, select
from .iteration import SCAN, AbstractNewton, check_fields, linearise_by
from .jacobian_diagonal import jacobian_diagonal
from .jacobians import DiagonalJacobian, declared_jacobian


@dataclasses.dataclass(frozen=True)
class QuasiNewton(AbstractNewton):
    """All steps of a chunk at once, for any cell, by Newton's method with diagonal Jacobians.

        r_t = advance(s_{t−1}, u_t) − s_t
        δ_t = diag(J_t) ∘ δ_{t−1} + r_t
        s_t ← s_t + δ_t

    Cost: an iteration costs a few evaluations of all steps of the chunk, and no matrix per step. A
    contracting cell takes about 30 iterations, one near chaos as many as its chunk has steps. For a
    cell that is neither gated nor diagonal, the diagonal takes one derivative per entry of the
    state. For a complex state it is Wirtinger's ∂s'/∂s. The diagonal only affects how the states
    are found: gradients are those of `Scan`, from the full Jacobians.

    Where the cell declares a structure of its Jacobian (`AbstractCell.jacobian`), that is J, and
    this method is `Newton`.

    Source: Gonzalez et al. 2024, arXiv:2407.19115 (quasi-DEER, not the damped ELK). Differs: as
    `Newton` does; and the backward pass is exact, where the authors' program solves it with the
    diagonal too and returns other gradients than the loss's.

    Args:
        chunk_size: steps at once; None is all of time. Chunks run one after another.
        tolerance: as for `Newton`.
        max_iters: as for `Newton`.
        fallback: as for `Newton`.

    Raises:
        ValueError: for settings out of range, and, when run, for a state with entries that are not
            floating point numbers.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
        >>> xs = jax.numpy.ones((100, 3))
        >>> state, ys = seqmem.unroll(cell, None, xs, method=seqmem.QuasiNewton())
        >>> ys.shape
        (100, 5)
    """

    chunk_size: int | None = 256
    tolerance: float | None = None
    max_iters: int = 100
    fallback: AbstractMethod | None = SCAN

    def __post_init__(self):
        check_fields(self)

    def lineariser(self, problem):
        structure = declared_jacobian(problem.cell)
        if structure is not None:
            return linearise_by(structure, problem)
        leading = 1 + problem.batch_axes
        one = jax.tree.map(lambda x: jnp.zeros(x.shape[leading:], x.dtype), problem.inputs)
        diagonal = jacobian_diagonal(problem.cell, problem.init, one)

        def linear(state, drive, flags):
            new = advance(problem.cell, problem.init, state, drive, flags)
            a = diagonal(apply_reset(problem.init, state, flags), drive)
            return new, select(flags.padding, jax.tree.map(jnp.ones_like, a), a)

        return linear

    def solve_linear(self, problem, jacobians, residuals):
        structure = declared_jacobian(problem.cell) or DiagonalJacobian()
        return structure.solve(jacobians, residuals, problem.flags.reset, reverse=problem.reverse)
