"""The records of a run: what a method is given, and what it returns."""

import dataclasses
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Bool, Int, PyTree

from .perturbations import ZeroPerturbations

State = PyTree
Drive = PyTree
Output = PyTree

SYMBOLIC_BATCH = 16  # the batch that schedules are chosen for where its size is not known


class StepFlags(NamedTuple):
    """What is special about each step, [time, *batch]. A flag that is None costs nothing.

    Attributes:
        reset: the step starts from the initial state; never a step of padding.
        padding: the step does not count: the state stays as it is.
        perturbation: what is added to the new state, a tree like the state.
        step_index: which of the sequence's steps it is, for methods with `needs_step_index`.
    """

    reset: Bool[Array, "time *batch"] | None = None
    padding: Bool[Array, "time *batch"] | None = None
    perturbation: State | ZeroPerturbations | None = None
    step_index: Int[Array, "time *batch"] | None = None


class Problem(eqx.Module):
    """One run of a cell over time: the argument of every method.

    Attributes:
        cell: the cell, or another layer.
        init: `cell.init_state()`, evaluated once: the state that a reset selects.
        state: the state before the first step that is run, batch axes in front.
        inputs: the inputs of every step, [time, *batch, ...], padding already replaced by zeros.
            Nothing is flipped where `reverse` is set.
        flags: what is special about each step.
        batch_axes: how many batch axes there are.
        reverse: whether the last step is run first.
        return_states: whether the solution holds the states of every step.
        shares: into how many shares the first batch axis is split over devices, as far as types
            say; it divides that axis.
    """

    cell: Any
    init: State
    state: State
    inputs: PyTree
    flags: StepFlags = StepFlags()
    batch_axes: int = eqx.field(static=True, default=0)
    reverse: bool = eqx.field(static=True, default=False)
    return_states: bool = eqx.field(static=True, default=False)
    shares: int = eqx.field(static=True, default=1)

    @property
    def steps(self) -> tuple[PyTree, StepFlags]:
        """Everything that has a time axis."""
        return self.inputs, self.flags

    @property
    def time(self) -> int:
        """The number of steps."""
        return jax.tree.leaves(self.steps)[0].shape[0]

    def replace(self, **changes: Any) -> "Problem":
        """The same problem with other fields."""
        return dataclasses.replace(self, **changes)

    @property
    def batch(self) -> tuple[int, ...]:
        """The batch axes."""
        return jax.tree.leaves(self.steps)[0].shape[1 : 1 + self.batch_axes]

    @property
    def examples_per_device(self) -> int:
        """The batch of one device, which schedules are chosen for."""
        size = math.prod(self.batch)
        return size // self.shares if isinstance(size, int) else SYMBOLIC_BATCH


class Stats(NamedTuple):
    """How a method found the states of each sequence.

    Attributes:
        converged: whether the method itself found all states of the sequence. Where it did not,
            they come from its `fallback`; without one they are wrong.
        iterations: the most iterations that any chunk of the sequence took; 0 for methods that do
            not iterate.
    """

    converged: Bool[Array, "*batch"]
    iterations: Int[Array, "*batch"]


class Solution(eqx.Module):
    """One run of a cell over time: the result of every method.

    Attributes:
        state: the final state, batch axes in front.
        outputs: the outputs of every step, [time, *batch, ...]; 0 at padded steps.
        states: the state after every step, [time, *batch, ...], 0 at padded steps; None unless
            asked for.
        stats: how the states were found. Inside a method it has a time axis in front, and None
            says that the method cannot fail.
    """

    state: State
    outputs: Output
    states: State | None = None
    stats: Stats | None = None
