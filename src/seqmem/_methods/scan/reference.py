"""`ReferenceScan`: the definition, as a plain `lax.scan` that JAX differentiates by itself."""

import dataclasses

import jax
from jaxtyping import PyTree

from ..._core.batching import vmap_batch
from ..._core.cell import AbstractCell, project, readout
from ..._core.method import AbstractMethod
from ..._core.precision import as_precision, precision
from ..._core.problem import Output, Solution, State, StepFlags
from ..._core.step import advance, select
from .gradient_transforms import AbstractGradientTransform, transform_gradient


@dataclasses.dataclass(frozen=True)
class ReferenceScan(AbstractMethod):
    """One step after another by `lax.scan`, differentiated by JAX: the definition.

    It is slower than `Scan` and keeps more memory, but has every mode of differentiation:
    `jax.jvp`, `jax.jacfwd` and `jax.hessian` too.

    Args:
        transform: applied to the gradient between each step and the one before, as for `Scan`.
    """

    transform: AbstractGradientTransform | None = None

    @property
    def needs_step_index(self) -> bool:
        return self.transform is not None

    def run(self, problem):
        narrow_dtype = precision(problem.cell)
        # Gradients are summed over the steps in at least float32: the loop gets wide parameters and
        # narrows them itself.
        wide = as_precision(problem.cell, precision((problem.cell, problem.state)))

        def step(wide: AbstractCell, state: State, xs: tuple[PyTree, StepFlags]):
            x, flags = xs
            cell = as_precision(wide, narrow_dtype)
            drive = project(cell, x, state)
            if self.transform is not None:
                passed = transform_gradient(self.transform, state, flags.step_index)
                state = select(flags.padding, state, passed)
            state = advance(cell, problem.init, state, drive, flags)
            output: Output = readout(cell, state, drive)
            return state, (output, state if problem.return_states else None)

        state, (outputs, states) = jax.lax.scan(
            vmap_batch(step, wide, problem.batch_axes),
            problem.state,
            problem.steps,
            reverse=problem.reverse,
        )
        return Solution(state, outputs, states)
