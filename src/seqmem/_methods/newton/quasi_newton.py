"""Newton's method in time, with the diagonal of every step's Jacobian."""

import dataclasses

import jax
import jax.numpy as jnp

from ..recurrence import affine_states
from ..._core.cell import advance, begin, select
from ..._core.method import AbstractMethod
from .jacobian_diagonal import jacobian_diagonal
from .iteration import SCAN, AbstractSweeps, check_fields

BLOCK = 16  # steps of the affine recurrence that are run one after another


@dataclasses.dataclass(frozen=True)
class QuasiNewton(AbstractSweeps):
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
        block: steps at once; None is all of time. Blocks run one after another.
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

    block: int | None = 256
    tolerance: float | None = None
    max_iters: int = 100
    fallback: AbstractMethod | None = SCAN

    def __post_init__(self):
        check_fields(self)

    def lineariser(self, cell, init, inputs, batch_axes):
        one = jax.tree.map(lambda x: jnp.zeros(x.shape[1 + batch_axes :], x.dtype), inputs.x)
        diagonal = jacobian_diagonal(cell, init, one)

        def linear(state, drive, marks):
            new = advance(cell, init, state, drive, marks)
            a = diagonal(begin(init, state, marks), drive)
            return new, select(marks.hold, jax.tree.map(jnp.ones_like, a), a)

        return linear

    def solve(self, jacobians, residuals, cut, *, reverse):
        def states(a, b):
            flags = cut
            if cut is not None:
                flags = jnp.broadcast_to(cut.reshape(-1, *[1] * (b.ndim - 1)), b.shape)
            return affine_states(a, b, jnp.zeros_like(b[0]), flags, reverse=reverse, block=BLOCK)

        return jax.tree.map(states, jacobians, residuals)
