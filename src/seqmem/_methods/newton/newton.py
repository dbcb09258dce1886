"""`Newton`: all steps at once by Newton's method, with the whole Jacobian of every step."""

import dataclasses
import math

import jax.numpy as jnp

from ..._core.errors import bad_input
from ..._core.method import AbstractMethod
from ..._core.precision import precision
from .iteration import SCAN, AbstractNewton, check_fields, linearise_by
from .jacobians import DenseJacobian, declared_jacobian


@dataclasses.dataclass(frozen=True)
class Newton(AbstractNewton):
    """All steps of a chunk at once, for any cell, by Newton's method on the whole trajectory.

        r_t = advance(s_{t−1}, u_t) − s_t
        δ_t = J_t δ_{t−1} + r_t           J_t = ∂advance/∂s at s_{t−1}
        s_t ← s_t + δ_t

    Cost: an iteration over a chunk costs chunk_size · n³ for n real entries of the state (a complex
    entry counts twice), in a depth of about 2 · 16 + log₂(chunk_size / 16) products instead of
    chunk_size steps. It pays where the depth is the bottleneck: small states, long sequences and
    small batches on an accelerator. On a CPU `Scan` is many times faster. The gradient is that of
    `Scan`: it keeps the states, and its backward pass is a loop over the steps.

    Where the cell declares a structure of its Jacobian (`AbstractCell.jacobian`), as `ParaGRU`,
    `ParaLSTM`, `IndRNN` and all linear cells do, an iteration costs chunk_size · n for a diagonal,
    and chunk_size · k³ n for n blocks of k × k. The backward pass then solves the transposed
    recurrence for all steps of a chunk at once, in the same depth. Products of Jacobians over a
    chunk must not overflow there, where a loop would multiply them by a gradient of 0.

    A contracting cell takes about 5 iterations. A chaotic one takes as many iterations as its chunk
    has steps, or overflows: `seqmem.solve` says which sequences converged.

    Source: Lim et al. 2023, arXiv:2309.12252 (DEER). Differs: residuals are corrected, so that the
    states are as exact as the residuals are small; the last correction is made only if it is within
    the tolerance; chunks; each sequence stops by itself; overflow is replaced by the plain update,
    not by 0; sequences that did not converge are reported.

    Args:
        chunk_size: steps at once; None is all of time. Chunks run one after another.
        tolerance: the largest |r_t| allowed, relative to 1 + max |s_t| of the sequence's chunk;
            None is 16 times the distance of two neighbouring numbers at 1.
        max_iters: iterations after which a chunk of a sequence is given up, at least 1.
        fallback: the method that computes sequences that did not converge; None returns their
            states as they are.
        max_bytes: bytes that the Jacobians of one chunk may take.

    Raises:
        ValueError: for settings out of range, and, when run, for a state with entries that are not
            floating point numbers, or for Jacobians larger than max_bytes.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> xs = jax.numpy.ones((100, 3))
        >>> method = seqmem.Newton(chunk_size=50)
        >>> solution = seqmem.solve(cell, None, xs, method=method)
        >>> solution.outputs.shape, bool(solution.stats.converged)
        ((100, 5), True)
    """

    chunk_size: int | None = 256
    tolerance: float | None = None
    max_iters: int = 100
    fallback: AbstractMethod | None = SCAN
    max_bytes: int = 2**30

    def __post_init__(self):
        check_fields(self)

    def lineariser(self, problem):
        structure = declared_jacobian(problem.cell) or DenseJacobian()
        sequences, entries = math.prod(problem.batch), structure.entries(problem.init)
        step_bytes = sequences * entries * jnp.finfo(precision(problem.init)).bits // 8
        is_known = isinstance(step_bytes, int)  # the batch of an exported program may not be
        if is_known and problem.time * step_bytes > self.max_bytes:
            raise bad_input(
                f"{problem.time} Jacobians of {sequences} sequences, {entries} numbers each, take "
                f"{problem.time * step_bytes} bytes.",
                f"at most {self.max_bytes}, max_bytes of the Newton.",
                f"choose a chunk_size of at most {max(1, self.max_bytes // step_bytes)} steps, a "
                "larger max_bytes, or seqmem.QuasiNewton(), which keeps the diagonals.",
            )
        return linearise_by(structure, problem)

    def solve_linear(self, problem, jacobians, residuals):
        structure = declared_jacobian(problem.cell) or DenseJacobian()
        return structure.solve(jacobians, residuals, problem.flags.reset, reverse=problem.reverse)
