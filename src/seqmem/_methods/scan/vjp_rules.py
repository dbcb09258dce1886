"""How a family's update is taken apart for the backward pass."""

import abc
import functools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
from jaxtyping import PyTree

from ..._core.cell import AbstractCell, Drive, State, project, update
from ..._core.batching import each
from ..._core.precision import inexact, split


class Pace(NamedTuple):
    """How many steps are taken together."""

    stretch: int  # by the forward loop, which projects their inputs at once
    unroll: int  # of those, written out one after another
    block: int  # by the backward pass


def pace_of_products(batch: int, entries: int) -> Pace:
    """Where each step has a product: few steps, unrolled, so that their projection is in the cache;
    blocks of about 512 rows of block × batch for the products of the backward pass.
    """
    return Pace(4, 4, min(max(16, 512 // max(1, batch)), 128))


def pace_of_entries(batch: int, entries: int) -> Pace:
    """Where a step is entry by entry: as many steps as make 2¹⁸ entries of the state, for which XLA
    uses all cores, in a loop of single steps. Unrolled, it would compute their transcendental
    functions again for each.
    """
    steps = max(16, 2**18 // max(1, batch * entries))
    return Pace(steps, 1, steps)


class BackwardRule(abc.ABC):
    """How a family's update is taken apart: `update(s, u) = finish(s, prepare(s, u))`.

    `prepare` and `finish` take one example and one step, the others blocks, [time, *batch, ...].
    """

    keeps: bool  # whether what `prepare` returns is worth keeping for the backward pass
    pace: Callable[[int, int], Pace]  # of the batch's size, and of the entries of one state

    @abc.abstractmethod
    def prepare(self, cell, state: State, drive: Drive) -> PyTree:
        """The part of one update whose result may be kept."""

    @abc.abstractmethod
    def finish(self, cell, state: State, kept: PyTree) -> State:
        """The rest of one update."""

    @abc.abstractmethod
    def linearise(
        self, cell, states: State, kept: PyTree, x: PyTree, batch_axes: int
    ) -> tuple[PyTree, Callable[[PyTree, State], tuple[State, PyTree]]]:
        """What the loop reads at each step, and how it pulls a step's cotangent of the new state
        to the old.

        Beside the cotangent of the old state, the pull returns what `pull_to_inputs` wants to know
        of a step.
        """

    @abc.abstractmethod
    def pull_to_inputs(
        self,
        cell,
        states: State,
        kept: PyTree,
        x: PyTree,
        d: State,
        pulled: PyTree,
        batch_axes: int,
    ) -> tuple[PyTree, PyTree]:
        """The gradients of the parameters and of x, from cotangents d of all updates of a block.

        `pulled` is what the pulls of these updates returned.
        """


class PlainRule(BackwardRule):
    """For any cell: each step is linearised where the loop meets it."""

    keeps = False
    pace = staticmethod(pace_of_products)

    def prepare(self, cell, state, drive):
        return drive

    def finish(self, cell, state, kept):
        return update(cell, state, kept)

    def linearise(self, cell, states, kept, x, batch_axes):
        def pull(here, d):
            state, drive = here
            moving, still = split(state)

            def step(moving):
                return inexact(each(update, cell, batch_axes)(eqx.combine(moving, still), drive))

            return jax.vjp(step, moving)[1](d)[0], None

        return (states, kept), pull

    def pull_to_inputs(self, cell, states, kept, x, d, pulled, batch_axes):
        return pull_through_block(cell, states, x, d, batch_axes)


def pull_through_block(
    cell: AbstractCell, states: State, x: PyTree, d: State, batch_axes: int
) -> tuple[PyTree, PyTree]:
    """The gradients of the parameters and of x, from those of the states after each step."""

    def block(cell: AbstractCell, x: PyTree) -> State:
        def step(cell: AbstractCell, state: State, x: PyTree) -> State:
            return inexact(update(cell, state, project(cell, x, state)))

        return each(step, cell, batch_axes, time=True)(states, x)

    return pull_to(block, d, cell, x)


@functools.singledispatch
def backward_rule(cell: AbstractCell) -> BackwardRule:
    """The rule of a cell's family; a family with a better one than `PlainRule` registers it."""
    return PlainRule()


def pull_to(fn: Callable, d: PyTree, *args: PyTree) -> tuple[PyTree, ...]:
    """The cotangents of what can be differentiated in `args`, from a cotangent of `fn(*args)`."""
    moving, still = split(args)
    return jax.vjp(lambda *moving: fn(*eqx.combine(moving, still)), *moving)[1](d)
