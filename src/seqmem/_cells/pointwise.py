"""The pointwise family: layers without memory, such as norms and embeddings."""

from collections.abc import Iterator
from typing import Any

import jax
from jaxtyping import PyTree

from .._core.cell import AbstractCell
from .._core.family import Family, Law
from .._core.problem import Drive, Output, Problem, Solution, State
from .._methods.parallel import Parallel
from .._methods.readouts import solve_without_steps
from .._methods.scan.reference import ReferenceScan
from .._methods.scan.scan import Scan


def _solve_pointwise(problem: Problem, method: Parallel) -> Solution:
    return solve_without_steps(problem)


def _equations(cell: Any, draws: Any) -> Iterator[tuple[str, PyTree, PyTree]]:
    yield "a state without leaves", jax.tree.leaves(cell.init_state()), []


POINTWISE = Family(
    "pointwise",
    default=Parallel(),
    parallel=_solve_pointwise,
    methods=(Parallel(), Scan(), ReferenceScan()),
    laws=(Law(_equations),),
)
"""The family of `AbstractPointwiseCell`: there is no state."""


class AbstractPointwiseCell(AbstractCell):
    """A cell without memory: y_t = project(x_t).

    The state is a tree without leaves, and a subclass writes `project` alone. `unroll` computes all
    steps at once: time is one more batch axis.
    """

    family = POINTWISE

    def init_state(self) -> State:
        return ()

    def update(self, state: State, drive: Drive, /) -> State:
        return state

    def readout(self, state: State, drive: Drive, /) -> Output:
        return drive
