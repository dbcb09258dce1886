"""`QuasiNewton`: all steps at once by Newton's method, with the diagonals of the Jacobians."""

import dataclasses

import jax
import jax.numpy as jnp

from ..._core.method import AbstractMethod
from ..._core.step import advance, apply_reset, select
from ..recurrence import diagonal_states
from .iteration import SCAN, AbstractNewton, check_fields
from .jacobian_diagonal import jacobian_diagonal

CHUNK_SIZE = 16  # steps of the affine recurrence that run one after another


@dataclasses.dataclass(frozen=True)
class QuasiNewton(AbstractNewton):
    """All steps of a block at once, for any cell, by sweeps that know the diagonal of J_t alone.

        r_t = advance(s_{t−1}, u_t) − s_t
        δ_t = diag(J_t) ∘ δ_{t−1} + r_t
        s_t ← s_t + δ_t

    A sweep costs as much as a few evaluations of all steps of the block, and no matrix per step; a
    contracting cell takes some 30 of them, one near chaos as many as its block has steps. In a cell
    that is not gated or diagonal the diagonal takes one derivative per entry of the state. Of a
    complex state it is Wirtinger's ∂s'/∂s. The diagonal only says how the states are found:
    gradients are those of `Scan`, from the whole Jacobians.

    Source: Gonzalez et al. 2024, arXiv:2407.19115 (quasi-DEER, and not the damped ELK). Differs: as
    `Newton` does; and the backward pass is exact, where the authors' program solves it with the
    diagonal too, whose gradients are not the loss's.

    Args:
        chunk_size: steps at once; None is all of time. Chunks run one after another.
        tolerance: as for `Newton`.
        max_iters: as for `Newton`.
        fallback: as for `Newton`.

    Raises:
        ValueError: for settings that make no sense, and, when run, for a state with entries that
            are no floating point numbers.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
        >>> xs = jax.numpy.ones((100, 3))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), xs, method=seqmem.QuasiNewton())
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
        leading = 1 + problem.batch_axes
        one = jax.tree.map(lambda x: jnp.zeros(x.shape[leading:], x.dtype), problem.inputs)
        diagonal = jacobian_diagonal(problem.cell, problem.init, one)

        def linear(state, drive, flags):
            new = advance(problem.cell, problem.init, state, drive, flags)
            a = diagonal(apply_reset(problem.init, state, flags), drive)
            return new, select(flags.padding, jax.tree.map(jnp.ones_like, a), a)

        return linear

    def solve_linear(self, jacobians, residuals, cut, *, reverse):
        def solve(a, b):
            flags = cut
            if cut is not None:
                flags = jnp.broadcast_to(cut.reshape(-1, *[1] * (b.ndim - 1)), b.shape)
            return diagonal_states(
                a, b, jnp.zeros_like(b[0]), flags, reverse=reverse, chunk_size=CHUNK_SIZE
            )

        return jax.tree.map(solve, jacobians, residuals)
