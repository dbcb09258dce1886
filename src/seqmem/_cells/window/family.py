"""The window family: the state is the last n entries, so the states need no recurrence."""

import abc
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.batching import vmap_batch
from ..._core.cell import AbstractCell
from ..._core.family import Family, Law
from ..._core.precision import as_precision, precision
from ..._core.problem import Drive, Output, Problem, Solution, State
from ..._methods.parallel import Parallel
from ..._methods.readouts import drives_of
from ..._methods.scan.reference import ReferenceScan
from ..._methods.scan.scan import Scan
from .history import History, steps_since_reset


def readout_sequence(cell: Any, history: History, drives: PyTree) -> Output:
    """`cell.readout_sequence` in the state's precision."""
    return as_precision(cell, precision(history.init)).readout_sequence(history, drives)


def _solve_at_once(problem: Problem, method: Parallel) -> Solution:
    if problem.flags.perturbation is not None or problem.return_states:
        return Scan().run(problem)  # every window is materialised anyway
    axes, flags = problem.batch_axes, problem.flags
    drives = drives_of(problem.cell, problem.init, problem.inputs, axes)
    solve_one = functools.partial(_solve_one, problem.init, problem.reverse)
    run = vmap_batch(solve_one, problem.cell, axes, in_axes=(0, 1, 1), out_axes=(0, 1))
    return Solution(*run(problem.state, drives, (flags.reset, flags.padding)))


def _solve_one(
    init: State,
    reverse: bool,
    cell: AbstractCell,
    state: State,
    drives: Drive,
    flags: tuple[Array | None, Array | None],
) -> tuple[State, PyTree]:
    """One example. The steps are put in the order in which they run: padding is then last, or first
    with `reverse`, where the state replaces the padding right before the first valid step.
    """

    def in_run_order(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jnp.flip(leaf, 0), tree) if reverse else tree

    drives, (reset, padding) = in_run_order((drives, flags))
    entry, _ = drives
    entries = jax.tree.map(lambda s, e: jnp.concatenate([s, e]), state, entry)
    time = jax.tree.leaves(entry)[0].shape[0]
    steps = time if padding is None else time - padding.sum()
    if padding is not None and reverse:
        entries = jax.tree.map(
            lambda e, s: jax.lax.dynamic_update_slice_in_dim(e, s, time - steps, 0), entries, state
        )
        steps = time
    size = jax.tree.leaves(init)[0].shape[0]
    history = History(entries, init, None if reset is None else steps_since_reset(reset, size))
    ys = readout_sequence(cell, history, drives)
    return history.after(steps), in_run_order(ys)


def _functions(cell: Any, state: State, drive: Drive) -> dict[str, Callable[[], PyTree]]:
    return {
        "readout_sequence(history, drives)": lambda: cell.readout_sequence(
            *_three_steps(state, [drive] * 3)
        )
    }


def _equations(cell: Any, draws: Any) -> Iterator[tuple[str, PyTree, PyTree]]:
    state, drive = draws.random_state(1.0), draws.drive()
    yield (
        "the update of AbstractWindowCell: a window loses its oldest entry for a new one",
        cell.update(state, drive),
        AbstractWindowCell.update(cell, state, drive),
    )
    history, drives = _three_steps(state, [drive, draws.drive(), draws.drive()])
    for since_reset in (None, jnp.array([0, 1, 0])):
        history = history._replace(steps_since_reset=since_reset)
        yield (
            "readout_sequence(history, u)_t = readout(history.windows()_t, u_t)",
            cell.readout_sequence(history, drives),
            jax.vmap(cell.readout)(history.windows(), drives),
        )


def _three_steps(state: State, drives: list[Drive]) -> tuple[History, Drive]:
    stacked = jax.tree.map(lambda *steps: jnp.stack(steps), *drives)
    state = jax.tree.map(jnp.asarray, state)
    entries = jax.tree.map(lambda s, e: jnp.concatenate([s, e]), state, stacked[0])
    return History(entries, state, None), stacked


WINDOW = Family(
    "window",
    default=Parallel(),
    parallel=_solve_at_once,
    methods=(Parallel(), Scan(), ReferenceScan()),
    laws=(Law(_equations, _functions),),
)
"""The family of `AbstractWindowCell`: an output is a function of the last entries."""


class AbstractWindowCell(AbstractCell):
    """A cell whose output is a function of the last n entries.

        e_t, u_t = project(x_t)
        s_t = (e_{t−n+1}, ..., e_t)
        y_t = readout(s_t, (e_t, u_t))

    `init_state` returns the n entries before the first step, the oldest first: a tree of arrays
    [n, ...]. `project` returns (entry, extra): the entry has the tree and the shapes of one row of
    the window, the extra is for the readout alone. `update` is written here.

    `readout_sequence` is `readout` of all steps at once, which is what `Parallel` runs. The simple
    implementation is `jax.vmap(self.readout)(history.windows(), drives)`; a cell writes one that
    does not copy a window for each step. It must select with `jnp.where`, never multiply by 0: an
    entry outside of a step's window must not reach its output or its gradients, not even as NaN.
    """

    family = WINDOW

    def update(self, state: State, drive: Drive, /) -> State:
        entry, _ = drive
        return jax.tree.map(
            lambda window, new: jnp.concatenate([window[1:], new[None]]), state, entry
        )

    @abc.abstractmethod
    def readout_sequence(self, history: History, drives: Drive, /) -> Output:
        """`readout(history.windows()[t], drives[t])` for every step t of one example."""
