"""Backpropagation through time with weight gradients outside of the loop.

Forward, in short unrolled stretches: one projection per stretch, then the steps. Kept: the states,
and what the family's rule asks for. Backward, in blocks: what was not kept is computed again for
the whole block at once; the loop over its steps yields d_t = ∂L/∂s_t, and from d the gradients of
parameters and inputs are one product each over block × batch.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.cell import (
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
)
from ..._core.batching import each
from ..._core.precision import as_precision, inexact, precision, split
from .vjp_rules import BackwardRule, Pace, backward_rule, pull_to
from ..blocks import block_size, borders, scan_blocks, shifted, summed_first, summed_last
from .gradient_transforms import AbstractGradientTransform


@dataclasses.dataclass(frozen=True)
class _Settings:
    batch_axes: int
    reverse: bool
    recompute: bool
    block: int | None
    transform: AbstractGradientTransform | None


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
    transform: AbstractGradientTransform | None,
) -> tuple[State, PyTree]:
    """`plain_scan` with the backward pass of this file."""
    settings = _Settings(batch_axes, reverse, recompute, block, transform)
    return _bptt(settings, *split((cell, init, state, inputs)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _bptt(settings: _Settings, moving: PyTree, still: PyTree) -> tuple[State, PyTree]:
    cell, init, state, inputs = eqx.combine(moving, still)

    def emit(states, kept, x):
        return show(settings.batch_axes, cell, states, x)

    return _forward(settings, cell, init, state, inputs, emit)


def _bptt_forward(settings: _Settings, moving: PyTree, still: PyTree):
    cell, init, state, inputs = eqx.combine(moving, still)
    keeps = backward_rule(cell).keeps and not settings.recompute

    def keep(states, kept, x):
        return states, kept if keeps else None

    final, (states, kept) = _forward(settings, cell, init, state, inputs, keep)
    ys = show(settings.batch_axes, cell, states, inputs.x)
    return (final, ys), (moving, still, states, kept)


def show(batch_axes: int, cell: AbstractCell, states: State, x: PyTree) -> PyTree:
    """The outputs of many steps; the projection is dead code unless the readout looks at the
    drive.
    """

    def one(cell: AbstractCell, state: State, x: PyTree) -> PyTree:
        return readout(cell, state, project(cell, x, state))

    return each(one, cell, batch_axes, time=True)(states, x)


def shown_from(batch_axes: int, cell: AbstractCell, state: State, x: PyTree) -> PyTree:
    """The outputs of many steps (or of none), were each to end in this state of one example."""
    one = lambda cell, x: readout(cell, state, project(cell, x, state))  # noqa: E731
    return each(one, cell, batch_axes, time=True)(x)


def projected(batch_axes: int, cell: AbstractCell, like: State, x: PyTree) -> Drive:
    """The drives of many steps, for a state of the precision of `like`."""
    return each(lambda cell, x: project(cell, x, like), cell, batch_axes, time=True)(x)


def _forward(settings: _Settings, cell, init, state, inputs: Inputs, emit: Callable):
    """The final state, and `emit(states, kept, x)` of every stretch, over all of time."""
    axes, reverse = settings.batch_axes, settings.reverse
    rule = backward_rule(cell)

    pace = _pace(rule, init, inputs, axes)
    turned = summed_first(cell)
    known = isinstance(inputs.marks.perturbation, Zeros)

    def step(cell, state: State, drive: Drive, marks: Marks):
        start = begin(init, state, marks)
        kept = rule.prepare(cell, start, drive)
        state = conclude(state, rule.finish(cell, start, kept), marks)
        return state, (state, kept)

    def stretch(state: State, inputs: Inputs, _):
        x, marks = inputs
        cell = summed_last(turned)
        drives = projected(axes, cell, state, x)
        state, (states, kept) = jax.lax.scan(
            lambda state, here: each(step, cell, axes)(state, *here),
            state,
            (drives, marks._replace(perturbation=None) if known else marks),
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
    d_final, d_ys = inexact(cotangents)
    shown = functools.partial(show, settings.batch_axes)
    return _pull_back(settings, moving, still, states, kept, shown, d_final, d_ys), None


def _pull_back(settings: _Settings, moving, still, states, kept, shown, d_final, d_ys) -> PyTree:
    """The gradients of all that moves, from those of the final state and of `shown(cell, states,
    x)`.
    """
    cell, init, state, inputs = eqx.combine(moving, still)
    axes, reverse = settings.batch_axes, settings.reverse
    rule = backward_rule(cell)
    perturbation = inputs.marks.perturbation

    def flagged(flag: Array | None, yes: State, no: State) -> State:
        return over(select, axes)(flag, yes, no) if flag is not None else no

    def body(carry, block, border):
        d_state, d_cell, d_init = carry
        (x, (resets, holds, _, passed)), states, kept, d_ys = block
        d_cell_shown, d_shown, d_x_shown = pull_to(
            lambda *args: inexact(shown(*args)), d_ys, cell, states, x
        )
        starts = shifted(border, states, reverse=reverse)
        starts = over(lambda s, r: select(r, init, s), 1 + axes)(starts, resets)
        if kept is None:
            drives = projected(axes, cell, state, x)
            kept = each(rule.prepare, cell, axes, time=True)(starts, drives)
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
        d_probe = None if perturbation is None else Zeros(d) if isinstance(perturbation, Zeros) else d
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
        d_x, d_probe = jax.tree.map(jnp.zeros_like, (moving_inputs.x, moving_inputs.marks.perturbation))
    d_state, d_cell, d_init = carry
    d_cell = jax.tree.map(lambda d, own: d.astype(own.dtype), d_cell, moving_cell)
    d_init = jax.tree.map(lambda d: d.sum(tuple(range(axes))), d_init)
    return d_cell, d_init, d_state, Inputs(d_x, Marks(perturbation=d_probe))


def _pace(rule: BackwardRule, init: State, inputs: Inputs, batch_axes: int) -> Pace:
    batch = jax.tree.leaves(inputs)[0].shape[1 : 1 + batch_axes]
    entries = sum(jnp.size(leaf) * (1 + jnp.iscomplexobj(leaf)) for leaf in jax.tree.leaves(init))
    return rule.pace(math.prod(batch), entries)


_bptt.defvjp(_bptt_forward, _bptt_backward)


def along(
    states: State,
    cell: AbstractCell,
    init: State,
    state: State,
    inputs: Inputs,
    *,
    batch_axes: int,
    reverse: bool,
) -> State:
    """`states` after each step, found in whatever way, with the derivatives that the recurrence
    gives them: the backward pass of this file.
    """
    settings = _Settings(batch_axes, reverse, recompute=True, block=None, transform=None)
    states = jax.lax.stop_gradient(states)
    return _along(settings, *split((cell, init, state, inputs)), states)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _along(settings: _Settings, moving: PyTree, still: PyTree, states: State) -> State:
    return states


def _along_forward(settings: _Settings, moving: PyTree, still: PyTree, states: State):
    states = _along(settings, moving, still, states)  # the rule again, for second derivatives
    return states, (moving, still, states)


def _along_backward(settings: _Settings, residuals, d_states):
    moving, still, states = residuals
    d_final = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), states)

    def shown(cell, states, x):
        return states

    return _pull_back(settings, moving, still, states, None, shown, d_final, d_states), None, None


_along.defvjp(_along_forward, _along_backward)
