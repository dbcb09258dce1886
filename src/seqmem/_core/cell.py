"""The one idea: a cell is project → update → readout, and a step is the three in this order.

    u_t = project(x_t)            what it sees
    s_t = update(s_{t−1}, u_t)    how it remembers
    y_t = readout(s_t, u_t)       what it shows

The functions below the class are the cell's three with the dtypes of the contract; everything in
seqmem that runs a cell runs it through them, so every method computes the same step.
"""

import abc
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .precision import as_precision, precision

State = PyTree
Drive = PyTree
Output = PyTree


class AbstractCell(eqx.Module):
    """A memory for sequences: three pure functions over one tree of parameters.

    A subclass writes `init_state`, `project`, `update` and `readout` for one example and one step,
    with no batch, mask, loop or dtype in them; `seqmem.unroll` gives it the rest. It reads
    parameters only through `self` (arrays are leaves, sizes and functions static fields), and its
    functions and their derivatives are finite at x = 0, since padded inputs are replaced by zeros.
    `seqmem.testing.check_cell` tests all of it.

    A subclass with an `input_size` attribute gets its inputs checked against it.

    Class attributes:
        input_axes: how many axes one input has: 1 for a vector, 0 for a token, 3 for an image (a
            tree of numbers for a tree of inputs).
        gates: the names of the gates along the first axis of the parameters `W`, `U` and `b`.
    """

    input_axes: ClassVar[Any] = 1
    gates: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def init_state(self) -> State:
        """The state before the first input; its dtypes are the state's for good. May be learned."""

    @abc.abstractmethod
    def project(self, x: PyTree, /) -> Drive:
        """What the cell sees of one input; never looks at the state."""

    @abc.abstractmethod
    def update(self, state: State, drive: Drive, /) -> State:
        """The next state: the only part that must run in order."""

    @abc.abstractmethod
    def readout(self, state: State, drive: Drive, /) -> Output:
        """What the cell shows of its new state; never looks at other steps."""

    def __call__(self, state: State, x: PyTree) -> tuple[State, Output]:
        """One step, state first, in and out, as `jax.lax.scan` wants it."""
        drive = project(self, x, state)
        state = update(self, state, drive)
        return state, readout(self, state, drive)


def project(cell: AbstractCell, x: PyTree, state: State) -> Drive:
    """`cell.project` in the parameters' precision, returned in that of `state`."""
    return as_precision(cell.project(as_precision(x, precision(cell))), precision(state))


@functools.singledispatch
def update(cell: AbstractCell, state: State, drive: Drive) -> State:
    """`cell.update`, in the state's precision unless the family says better or the cell is made of
    others.
    """
    return as_precision(cell, precision(state)).update(state, drive)


@functools.singledispatch
def readout(cell: AbstractCell, state: State, drive: Drive) -> Output:
    """`cell.readout`, in the state's precision unless the cell is made of others."""
    return as_precision(cell, precision(state)).readout(state, drive)


class Zeros(eqx.Module):
    """Probes that are known to be 0. Only their gradient is wanted, so a method that knows it
    without adding them need not.
    """

    values: State


def probe_values(perturbation: "State | Zeros") -> State:
    return perturbation.values if isinstance(perturbation, Zeros) else perturbation


class Marks(NamedTuple):
    """What is special about a step. None is never, and costs nothing."""

    reset: Array | None = None  # the state before this step is the initial one
    hold: Array | None = None  # this step is padding: the state stays as it is
    perturbation: State | Zeros | None = None  # added to the new state
    border: Array | None = None  # which step it is, for methods that look at it


class Inputs(NamedTuple):
    """What a method is given for every step, time first: the inputs, padding already replaced, and
    marks.
    """

    x: PyTree
    marks: Marks = Marks()

    @property
    def time(self) -> int:
        return jax.tree.leaves(self)[0].shape[0]


def begin(init: State, state: State, marks: Marks) -> State:
    """The state that a step starts from."""
    return select(marks.reset, init, state)


def conclude(state: State, new: State, marks: Marks) -> State:
    """The state that a step ends with, from the state before it and the updated one."""
    if marks.perturbation is not None:
        new = jax.tree.map(jnp.add, new, probe_values(marks.perturbation))
    return select(marks.hold, state, new)


def advance(cell: AbstractCell, init: State, state: State, drive: Drive, marks: Marks) -> State:
    """One step of memory, marks included: the definition that every method must reproduce."""
    new = update(cell, begin(init, state, marks), drive)
    return conclude(state, new, marks)


def select(flag: Array | None, yes: PyTree, no: PyTree) -> PyTree:
    """`yes` where the flag is set, by selection and never by a product: 0 · NaN is NaN."""
    if flag is None:
        return no
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), yes, no)


def over(fn: Callable, axes: int) -> Callable:
    """`fn` mapped over that many leading axes of all its arguments and results."""
    for _ in range(axes):
        fn = jax.vmap(fn)
    return fn
