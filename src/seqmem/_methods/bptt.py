"""Backpropagation through time with weight gradients outside of the loop.

Forward, in short unrolled stretches: one projection per stretch, then the steps. Kept: the states,
and what the family's rule asks for. Backward, in blocks: what was not kept is computed again for
the whole block at once; the loop over its steps yields d_t = ∂L/∂s_t, and from d the gradients of
parameters and inputs are one product each over block × batch.
"""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._cell import (
    AbstractCell,
    Drive,
    Inputs,
    Marks,
    State,
    Zeros,
    begin,
    conclude,
    over,
    project,
    readout,
    select,
    update,
)
from .._precision import as_precision, inexact, precision, split
from .blocks import block_size, borders, scan_blocks, shifted, summed_first, summed_last
from .cotangents import AbstractCotangentTransform


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
                advanced = over(functools.partial(update, cell), batch_axes)
                return inexact(advanced(eqx.combine(moving, still), drive))

            return jax.vjp(step, moving)[1](d)[0], None

        return (states, kept), pull

    def pull_to_inputs(self, cell, states, kept, x, d, pulled, batch_axes):
        return pull_through_block(cell, states, x, d, batch_axes)


def pull_through_block(
    cell: AbstractCell, states: State, x: PyTree, d: State, batch_axes: int
) -> tuple[PyTree, PyTree]:
    """The gradients of the parameters and of x, from those of the states after each step."""

    def block(cell: AbstractCell, x: PyTree) -> State:
        def step(state: State, x: PyTree) -> State:
            return inexact(update(cell, state, project(cell, x, state)))

        return over(step, 1 + batch_axes)(states, x)

    return pull_to(block, d, cell, x)


@functools.singledispatch
def backward_rule(cell: AbstractCell) -> BackwardRule:
    """The rule of a cell's family; a family with a better one than `PlainRule` registers it."""
    return PlainRule()


def pull_to(fn: Callable, d: PyTree, *args: PyTree) -> tuple[PyTree, ...]:
    """The cotangents of what can be differentiated in `args`, from a cotangent of `fn(*args)`."""
    moving, still = split(args)
    return jax.vjp(lambda *moving: fn(*eqx.combine(moving, still)), *moving)[1](d)


@dataclasses.dataclass(frozen=True)
class _Settings:
    batch_axes: int
    reverse: bool
    recompute: bool
    block: int | None
    transform: AbstractCotangentTransform | None


def unroll_with_bptt(
    cell: AbstractCell,
    init: State,
    state: State,
    inputs: Inputs,
    *,
    batch_axes: int,
    reverse: bool,
    recompute: bool,
    block: int | None,
    transform: AbstractCotangentTransform | None,
) -> tuple[State, PyTree]:
    """`plain_scan` with the backward pass of this file."""
    settings = _Settings(batch_axes, reverse, recompute, block, transform)
    return _bptt(settings, *split((cell, init, state, inputs)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _bptt(settings: _Settings, moving: PyTree, still: PyTree) -> tuple[State, PyTree]:
    cell, init, state, inputs = eqx.combine(moving, still)

    def show(states, kept, x):
        return _show(settings, cell, states, x)

    return _forward(settings, cell, init, state, inputs, show)


def _bptt_forward(settings: _Settings, moving: PyTree, still: PyTree):
    cell, init, state, inputs = eqx.combine(moving, still)
    keeps = backward_rule(cell).keeps and not settings.recompute

    def keep(states, kept, x):
        return states, kept if keeps else None

    final, (states, kept) = _forward(settings, cell, init, state, inputs, keep)
    return (final, _show(settings, cell, states, inputs.x)), (moving, still, states, kept)


def _show(settings: _Settings, cell: AbstractCell, states: State, x: PyTree) -> PyTree:
    """The outputs of many steps; the projection is dead code unless the readout looks at the
    drive.
    """
    return over(lambda s, x: readout(cell, s, project(cell, x, s)), 1 + settings.batch_axes)(
        states, x
    )


def _forward(settings: _Settings, cell, init, state, inputs: Inputs, emit: Callable):
    """The final state, and `emit(states, kept, x)` of every stretch, over all of time."""
    axes, reverse = settings.batch_axes, settings.reverse
    rule = backward_rule(cell)

    pace = _pace(rule, init, inputs, axes)
    turned = summed_first(cell)
    known = isinstance(inputs.marks.probe, Zeros)

    def step(cell, state: State, drive: Drive, marks: Marks):
        start = begin(init, state, marks)
        kept = rule.prepare(cell, start, drive)
        state = conclude(state, rule.finish(cell, start, kept), marks)
        return state, (state, kept)

    def stretch(state: State, inputs: Inputs, _):
        x, marks = inputs
        cell = summed_last(turned)
        drives = over(lambda x: project(cell, x, state), 1 + axes)(x)
        state, (states, kept) = jax.lax.scan(
            lambda state, here: over(functools.partial(step, cell), axes)(state, *here),
            state,
            (drives, marks._replace(probe=None) if known else marks),
            reverse=reverse,
            unroll=pace.unroll,
        )
        return state, emit(states, kept, x)

    time = inputs.time
    if time:
        size = block_size(time, pace.stretch)
        state, ys = scan_blocks(stretch, state, inputs, size, time=time, reverse=reverse)
    else:
        state, ys = stretch(state, inputs, None)
    return state, ys


def _bptt_backward(settings: _Settings, residuals, cotangents):
    moving, still, states, kept = residuals
    cell, init, state, inputs = eqx.combine(moving, still)
    axes, reverse = settings.batch_axes, settings.reverse
    rule = backward_rule(cell)
    d_final, d_ys = inexact(cotangents)

    probe = inputs.marks.probe

    def flagged(flag: Array | None, yes: State, no: State) -> State:
        return over(select, axes)(flag, yes, no) if flag is not None else no

    def body(carry, block, border):
        d_state, d_cell, d_init = carry
        (x, (resets, holds, _, passed)), states, kept, d_ys = block
        d_cell_shown, d_shown, d_x_shown = pull_to(
            lambda *args: inexact(_show(settings, *args)), d_ys, cell, states, x
        )
        starts = shifted(border, states, reverse=reverse)
        starts = over(lambda s, r: select(r, init, s), 1 + axes)(starts, resets)
        if kept is None:
            drives = over(lambda x: project(cell, x, state), 1 + axes)(x)
            kept = over(functools.partial(rule.prepare, cell), 1 + axes)(starts, drives)
        read, pull = rule.linearise(cell, starts, kept, x, axes)

        def step(carry, here):
            d_state, d_init = carry
            read, d_shown, reset, hold, border = here
            d_state = jax.tree.map(jnp.add, d_state, d_shown)
            none = jax.tree.map(jnp.zeros_like, d_state)
            d = flagged(hold, none, d_state)
            d_start, pulled = pull(read, d)
            if reset is not None:
                d_init = jax.tree.map(jnp.add, d_init, flagged(reset, d_start, none))
            d_before = flagged(reset, none, d_start)
            if settings.transform is not None:
                d_before = over(settings.transform, axes)(d_before, border)
            d_state = flagged(hold, d_state, d_before)
            return (d_state, d_init), (d, pulled)

        (d_state, d_init), (d, pulled) = jax.lax.scan(
            step,
            (d_state, d_init),
            (read, d_shown, resets, holds, passed),
            reverse=not reverse,
        )
        d_cell_moved, d_x = rule.pull_to_inputs(cell, starts, kept, x, d, pulled, axes)
        d_cell = jax.tree.map(
            lambda total, *parts: sum((part.astype(total.dtype) for part in parts), total),
            d_cell,
            d_cell_shown,
            d_cell_moved,
        )
        d_x = jax.tree.map(jnp.add, d_x, d_x_shown)
        d_probe = None if probe is None else Zeros(d) if isinstance(probe, Zeros) else d
        return (d_state, d_cell, d_init), (d_x, d_probe)

    moving_cell, _, _, moving_inputs = moving
    wide = as_precision(moving_cell, precision((moving_cell, state)))
    none = jax.tree.map(jnp.zeros_like, d_final)
    carry = d_final, jax.tree.map(jnp.zeros_like, wide), none
    time = inputs.time
    if time:
        block = settings.block or block_size(time, _pace(rule, init, inputs, axes).block)
        size = min(block, time)
        carry, (d_x, d_probe) = scan_blocks(
            body,
            carry,
            (inputs, states, kept, d_ys),
            size,
            time=time,
            per_block=borders(state, states, size, reverse=reverse),
            reverse=not reverse,
        )
    else:
        d_x, d_probe = jax.tree.map(jnp.zeros_like, (moving_inputs.x, moving_inputs.marks.probe))
    d_state, d_cell, d_init = carry
    d_cell = jax.tree.map(lambda d, own: d.astype(own.dtype), d_cell, moving_cell)
    d_init = jax.tree.map(lambda d: d.sum(tuple(range(axes))), d_init)
    return (d_cell, d_init, d_state, Inputs(d_x, Marks(probe=d_probe))), None


def _pace(rule: BackwardRule, init: State, inputs: Inputs, batch_axes: int) -> Pace:
    batch = jax.tree.leaves(inputs)[0].shape[1 : 1 + batch_axes]
    entries = sum(jnp.size(leaf) * (1 + jnp.iscomplexobj(leaf)) for leaf in jax.tree.leaves(init))
    return rule.pace(math.prod(batch), entries)


_bptt.defvjp(_bptt_forward, _bptt_backward)
