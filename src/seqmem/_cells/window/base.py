"""The window family: the state is what entered last, so all states are known beforehand."""

import abc

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._core.cell import AbstractCell, Drive, Output, State
from ..._core.precision import as_precision, precision
from .history import History


class AbstractWindowCell(AbstractCell):
    """A cell that looks at the last n entries, and at nothing else.

        e_t, u_t = project(x_t)
        s_t = (e_{t−n+1}, ..., e_t)
        y_t = readout(s_t, (e_t, u_t))

    `init_state` gives the n entries before the first step, the oldest first: a tree of arrays
    [n, ...]. `project` gives (entry, extra): the entry has the tree and the shapes of one of them,
    the extra is for the readout alone. `update` is written here, for all.

    `readout_sequence` is `readout` of all steps at once, which is what `Parallel` runs. The slow and
    obvious way is `jax.vmap(self.readout)(history.windows(), drives)`; a cell writes one that needs
    no window for each step. It selects, and never multiplies by 0: what is not in a step's window
    does not reach its output or its gradients, not even NaN.
    """

    def update(self, state: State, drive: Drive, /) -> State:
        entry, _ = drive
        return jax.tree.map(
            lambda window, new: jnp.concatenate([window[1:], new[None]]), state, entry
        )

    @abc.abstractmethod
    def readout_sequence(self, history: History, drives: Drive, /) -> Output:
        """`readout(history.windows()[t], drives[t])` for every step t of one example."""


def readout_sequence(cell: AbstractWindowCell, history: History, drives: PyTree) -> Output:
    """`cell.readout_sequence` in the state's precision."""
    return as_precision(cell, precision(history.init)).readout_sequence(history, drives)
