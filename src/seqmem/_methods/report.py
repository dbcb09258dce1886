"""What a method has to tell about a run."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from .._cell import AbstractCell, Inputs, State
from .base import AbstractMethod


class Report(NamedTuple):
    """Whether a method found the states of each sequence, and what it took.

    Attributes:
        converged: whether the method itself found all states of the sequence. Where it did not,
            they are those of its `otherwise`, or wrong if it has none.
        sweeps: the most sweeps that any block of the sequence took; 0 for methods without sweeps.
    """

    converged: Bool[Array, "*batch"]
    sweeps: Int[Array, "*batch"]


@functools.singledispatch
def run_with_report(
    method: AbstractMethod,
    cell: AbstractCell,
    init: State,
    state: State,
    inputs: Inputs,
    *,
    batch_axes: int,
    reverse: bool,
) -> tuple[State, PyTree, Report | None]:
    """`method.run` and a report of each step, [time, *batch]; None where there is nothing to tell.

    A method that has something to tell registers it.
    """
    return *method.run(cell, init, state, inputs, batch_axes=batch_axes, reverse=reverse), None


def both(one: Report | None, other: Report | None) -> Report | None:
    """The report of two runs that both must have succeeded."""
    if one is None or other is None:
        return other if one is None else one
    return Report(one.converged & other.converged, jnp.maximum(one.sweeps, other.sweeps))


def over_time(report: Report | None, batch: tuple[int, ...]) -> Report:
    """The report of whole sequences, from that of their steps."""
    if report is None:
        return Report(jnp.ones(batch, bool), jnp.zeros(batch, jnp.int32))
    return Report(report.converged.all(0), report.sweeps.max(0, initial=0))
