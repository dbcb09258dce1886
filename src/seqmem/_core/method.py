"""What a method is: one way to spend time, for any cell of the families it serves."""

import abc

from jaxtyping import PyTree

from .cell import AbstractCell, Inputs, State
from .time_shard import Clock


class AbstractMethod(abc.ABC):
    """A way to run a cell over time. Subclasses are frozen dataclasses: printable, hashable,
    static under jit.
    """

    @property
    def looks_at_borders(self) -> bool:
        """Whether `run` wants to know which steps it is given: `Marks.border`."""
        return False

    @property
    def clock(self) -> Clock:
        """Which steps of the whole sequence `run` is given."""
        return Clock()

    @abc.abstractmethod
    def run(
        self,
        cell: AbstractCell,
        init: State,
        state: State,
        inputs: Inputs,
        *,
        batch_axes: int,
        reverse: bool,
    ) -> tuple[State, PyTree]:
        """The state after all steps and the outputs of each, in the numbers of
        `seqmem.ReferenceScan()`.

        Args:
            cell: the cell.
            init: `cell.init_state()`, evaluated once: where a reset goes.
            state: the state before the first step that is run, batch axes in front.
            inputs: for every step, [time, *batch, ...]; nothing in them is flipped.
            batch_axes: the number of batch axes.
            reverse: whether the last step is run first.
        """
