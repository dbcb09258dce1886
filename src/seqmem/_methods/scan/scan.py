"""`Scan`: one step after another, with a backward pass of its own.

Forward, in short unrolled tiles: one projection per tile, then the steps. Kept for the backward
pass are the states, and what the family's rule asks for. Backward, in larger tiles: what was not
kept is computed again for a whole tile at once, the loop over its steps yields ∂L/∂s_t, and from
these the gradients of parameters and inputs are one product each over the tile and the batch.
"""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from ..._core.errors import bad_input
from ..._core.method import AbstractMethod
from ..._core.precision import keep_inexact, split_inexact
from ..._core.problem import Problem, Solution
from ..._core.validation import check_count
from ..readouts import has_known_time, has_steps, outputs_of, solve_without_steps
from .backward import Residuals, backward_loop, pull_back
from .forward import rule_of, run_forward
from .gradient_transforms import AbstractGradientTransform
from .reference import ReferenceScan


@dataclasses.dataclass(frozen=True)
class Scan(AbstractMethod):
    """One step after another: any cell, any platform, the least memory.

    The backward pass keeps the states and sums weight gradients once per tile of steps. It can be
    differentiated again in reverse mode; for forward mode use `seqmem.ReferenceScan()`. A program
    that is exported for any number of steps runs as `ReferenceScan`, since tiles need a number.

    Args:
        recompute: keep only the states, and compute the pre-activations of a gated cell again in
            the backward pass: the leanest. Without it they are kept too: the fastest. No effect on
            other families.
        tile: steps at which the backward pass linearises the cell at once; None chooses from the
            sizes.
        transform: applied to the gradient between each step and the one before, such as
            `seqmem.gradients.ClipNorm(1.0)`. The result is then, on purpose, not the gradient of
            the loss.

    Raises:
        ValueError: for a tile that is not a whole number of at least 1.
    """

    recompute: bool = False
    tile: int | None = None
    transform: AbstractGradientTransform | None = None

    def __post_init__(self):
        if not isinstance(self.recompute, bool):
            raise bad_input(
                f"Scan got recompute={self.recompute!r}.",
                "True or False.",
                "write seqmem.Scan(), or seqmem.ReferenceScan() for JAX's own gradient.",
            )
        if self.tile is not None:
            check_count("Scan", "tile", self.tile, remedy="leave it out to have it chosen.")

    @property
    def needs_step_index(self) -> bool:
        return self.transform is not None

    def run(self, problem: Problem) -> Solution:
        if not has_steps(problem):
            return solve_without_steps(problem)
        if not has_known_time(problem):
            return ReferenceScan(self.transform).run(problem)
        solution: Any = _scan(self, *split_inexact(problem))
        return solution


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(method: Scan, differentiable: PyTree, constant: PyTree) -> Solution:
    problem: Problem = eqx.combine(differentiable, constant)

    def emit(states, saved, inputs):
        outputs = outputs_of(problem.cell, states, inputs, problem.batch_axes)
        return outputs, states if problem.return_states else None

    state, (outputs, states) = run_forward(problem, emit)
    return Solution(state, outputs, states)


def _scan_forward(
    method: Scan, differentiable: PyTree, constant: PyTree
) -> tuple[Solution, Residuals]:
    problem: Problem = eqx.combine(differentiable, constant)
    keeps_prepared = rule_of(problem.cell).saves_prepared and not method.recompute

    def emit(states, saved, inputs):
        return states, saved if keeps_prepared else None

    state, (states, saved) = run_forward(problem, emit)
    outputs = outputs_of(problem.cell, states, problem.inputs, problem.batch_axes)
    solution = Solution(state, outputs, states if problem.return_states else None)
    return solution, Residuals(differentiable, constant, states, saved)


def _scan_backward(method: Scan, residuals: Residuals, d_solution: Solution) -> tuple[PyTree, None]:
    loop = functools.partial(backward_loop, method.transform)
    d_solution = keep_inexact(d_solution)
    return pull_back(residuals, outputs_of, d_solution, loop, method.tile), None


_scan.defvjp(_scan_forward, _scan_backward)
