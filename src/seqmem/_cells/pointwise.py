"""The stateless family: what stands between memories and remembers nothing itself."""

from .._core.cell import AbstractCell, Drive, Output, State


class AbstractPointwiseCell(AbstractCell):
    """A cell without memory: y_t = project(x_t).

    The state is a tree without leaves, so a cell writes `project` alone. `unroll` runs all steps
    at once, as further batch axes.
    """

    def init_state(self) -> State:
        return ()

    def update(self, state: State, drive: Drive, /) -> State:
        return state

    def readout(self, state: State, drive: Drive, /) -> Output:
        return drive
