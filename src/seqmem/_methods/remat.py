"""Rematerialisation: one state is kept per segment of time, and the rest is computed again."""

import dataclasses

import jax

from .._core.method import AbstractMethod
from .._core.problem import Problem, Solution, State
from .default import default_method
from .layer_by_layer import LayerByLayer
from .segments import scan_segments


@dataclasses.dataclass(frozen=True)
class Remat(AbstractMethod):
    """Another method on segments of `every` steps, each of which is computed again in the backward
    pass: `unroll(remat_every=every)`.

    A network that needs the future, as a bidirectional one, is cut within its parts.
    """

    method: AbstractMethod | None
    every: int

    @property
    def needs_step_index(self) -> bool:
        return self.method is not None and self.method.needs_step_index

    @property
    def needs_cell(self) -> bool:
        return self.method is not None and self.method.needs_cell

    def run(self, problem):
        method = self.method or default_method(problem.cell)
        if not problem.cell.can_step:
            methods = method.methods if isinstance(method, LayerByLayer) else ()
            parts = (Remat(part, self.every) for part in methods or (None,))
            return LayerByLayer(*parts).run(problem)
        if self.every >= problem.time:
            return method.run(problem)

        @jax.checkpoint
        def run_segment(problem: Problem) -> Solution:
            return method.run(problem)

        def body(state: State, segment: tuple) -> tuple[State, tuple]:
            (inputs, flags), _ = segment
            solution = run_segment(problem.replace(state=state, inputs=inputs, flags=flags))
            return solution.state, (solution.outputs, solution.states, solution.stats)

        state, over_time = scan_segments(
            body, problem.state, problem.steps, self.every, reverse=problem.reverse
        )
        return Solution(state, *over_time)
