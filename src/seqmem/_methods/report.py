"""What a method has to tell about a run."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from .._core.cell import AbstractCell, Inputs, State
from .._core.method import AbstractMethod


class Stats(NamedTuple):
    """Whether a method found the states of each sequence, and what it took.

    Attributes:
        converged: whether the method itself found all states of the sequence. Where it did not,
            they are those of its `fallback`, or wrong if it has none.
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
) -> tuple[State, PyTree, Stats | None]:
    """`method.run` and a report of each step, [time, *batch]; None where there is nothing to tell.

    A method that has something to tell registers it.
    """
    return *method.run(cell, init, state, inputs, batch_axes=batch_axes, reverse=reverse), None


def both(one: Stats | None, other: Stats | None) -> Stats | None:
    """The report of two runs that both must have succeeded."""
    if one is None or other is None:
        return other if one is None else one
    return Stats(one.converged & other.converged, jnp.maximum(one.iterations, other.iterations))


def over_time(report: Stats | None, batch: tuple[int, ...]) -> Stats:
    """The report of whole sequences, from that of their steps."""
    if report is None:
        return Stats(jnp.ones(batch, bool), jnp.zeros(batch, jnp.int32))
    return Stats(report.converged.all(0), report.iterations.max(0, initial=0))
