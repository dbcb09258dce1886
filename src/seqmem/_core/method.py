"""Execution strategies: how a recurrence is evaluated over time."""

import abc

from .problem import Problem, Solution
from .time_shard import TimeShard


class AbstractMethod(abc.ABC):
    """A way to evaluate a recurrence. Every method returns the numbers of `seqmem.ReferenceScan()`,
    gradients included.

    A subclass is a frozen dataclass, so that it prints, hashes and is static under jit, and writes
    `run`. `seqmem.testing.check_cell(cell, methods=[...])` tests it.

    Example:
        >>> import dataclasses, jax, seqmem
        >>> @dataclasses.dataclass(frozen=True)
        ... class Unrolled(seqmem.AbstractMethod):
        ...     "A Python loop over a problem without batch axes, flags or reverse."
        ...     def run(self, problem):
        ...         state, outputs = problem.state, []
        ...         for t in range(problem.time):
        ...             x = jax.tree.map(lambda leaf: leaf[t], problem.inputs)
        ...             state, y = problem.cell(state, x)
        ...             outputs.append(y)
        ...         return seqmem.Solution(state, jax.numpy.stack(outputs))
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> _, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)), method=Unrolled())
        >>> ys.shape
        (7, 5)
    """

    @property
    def needs_step_index(self) -> bool:
        """Whether `run` reads `StepFlags.step_index`."""
        return False

    @property
    def needs_cell(self) -> bool:
        """Whether `run` wants a layer that is also a function of one step."""
        return True

    @property
    def time_shard(self) -> TimeShard:
        """Which steps of the whole sequence the problem holds."""
        return TimeShard()

    @abc.abstractmethod
    def run(self, problem: Problem, /) -> Solution:
        """The solution of one run."""
