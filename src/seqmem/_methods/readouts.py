"""Outputs and drives of many steps at once."""

import jax
from jaxtyping import PyTree

from .._core.batching import vmap_batch
from .._core.cell import AbstractCell, project, readout
from .._core.problem import Drive, Output, Problem, Solution, State


def outputs_of(cell: AbstractCell, states: State, inputs: PyTree, batch_axes: int) -> Output:
    """The outputs of many steps, from the states after them.

    The projection is dead code unless the readout uses the drive.
    """

    def show(cell: AbstractCell, state: State, x: PyTree) -> Output:
        return readout(cell, state, project(cell, x, state))

    return vmap_batch(show, cell, batch_axes, time=True)(states, inputs)


def drives_of(cell: AbstractCell, like: State, inputs: PyTree, batch_axes: int) -> Drive:
    """The drives of many steps, for states of the precision of `like`."""

    def see(cell: AbstractCell, x: PyTree) -> Drive:
        return project(cell, x, like)

    return vmap_batch(see, cell, batch_axes, time=True)(inputs)


def solve_without_steps(problem: Problem) -> Solution:
    """The solution where no state changes: no step at all, or a cell without a state."""
    init = problem.init

    def show(cell: AbstractCell, x: PyTree) -> Output:
        return readout(cell, init, project(cell, x, init))

    outputs = vmap_batch(show, problem.cell, problem.batch_axes, time=True)(problem.inputs)
    states = None
    if problem.return_states:
        time = problem.time
        states = jax.tree.map(
            lambda leaf: jax.numpy.zeros((time, *leaf.shape), leaf.dtype), problem.state
        )
    return Solution(problem.state, outputs, states)


def has_steps(problem: Problem) -> bool:
    """Whether any state changes over time."""
    is_empty = has_known_time(problem) and problem.time == 0
    return not is_empty and bool(jax.tree.leaves(problem.init))


def has_known_time(problem: Problem) -> bool:
    """Whether the number of steps is known; `jax.export` has programs for any number."""
    return isinstance(problem.time, int)
