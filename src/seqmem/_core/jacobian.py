"""The structure of the Jacobian of one update, which a cell or its family declares."""

import abc
from collections.abc import Callable

from jaxtyping import Array, Bool, PyTree

from .problem import State


class AbstractJacobian(abc.ABC):
    """What ∂update/∂state looks like, and the linear algebra that this allows.

        class MyCell(seqmem.AbstractCell):
            jacobian = seqmem.DiagonalJacobian()

    `Newton` and `QuasiNewton` compute and multiply Jacobians through it. A subclass is a frozen
    dataclass. `check_cell` compares a declared structure with derivatives of the update.
    """

    @abc.abstractmethod
    def linearise(self, step: Callable[[State], State], state: State) -> tuple[State, PyTree]:
        """step(state) and the Jacobian there, for one example and one step."""

    @abc.abstractmethod
    def solve(
        self,
        jacobians: PyTree,
        residuals: State,
        cut: Bool[Array, " time"] | None,
        *,
        reverse: bool,
    ) -> State:
        """δ_t = J_t δ_{t−1} + r_t for all steps of one sequence, from δ = 0.

        Args:
            jacobians: J_t, time in front.
            residuals: r_t, time in front.
            cut: the steps where δ_t = r_t, whatever δ_{t−1} is, NaN included.
            reverse: from the last step to the first: δ_t = J_t δ_{t+1} + r_t.
        """

    @abc.abstractmethod
    def transpose(self, jacobians: PyTree) -> PyTree:
        """Jᵀ, of one or many."""

    @abc.abstractmethod
    def entries(self, state: State) -> int:
        """How many real numbers one Jacobian holds, for a state of these shapes."""
