"""The backward pass of `Scan`: backpropagation through time in tiles.

    λ_t = ∂L/∂s_t + (what comes from the output of step t)
    λ_{t−1} ← (∂s_t/∂s_{t−1})ᵀ λ_t

The loop carries λ; weight gradients are summed per tile, outside of the loop over its steps.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.batching import vmap_axes, vmap_batch
from ..._core.cell import AbstractCell
from ..._core.perturbations import ZeroPerturbations
from ..._core.precision import as_precision, keep_inexact, precision
from ..._core.problem import Problem, Solution, State, StepFlags
from ..._core.step import select
from ..._core.vjp_rule import BackwardTile
from ..readouts import drives_of
from ..segments import previous_states, scan_segments, segment_size, segment_starts
from .forward import rule_of, tile_sizes_of
from .shares import pull_in_shares, sum_of_shares, zeros_in_shares
from .vjp_rules import pull_to


class Residuals(NamedTuple):
    """What the forward pass keeps.

    Attributes:
        differentiable: the problem's inexact arrays, None elsewhere.
        constant: the rest of the problem.
        states: the state after every step.
        saved: what the rule's `prepare` returned at every step; None where it is computed again.
    """

    differentiable: Problem
    constant: Problem
    states: State
    saved: PyTree


class _Sums(NamedTuple):
    """What the backward pass carries from tile to tile."""

    state: State  # the cotangent of the state, going back in time
    cell: AbstractCell  # sums of the parameters' cotangents, at least in the state's precision
    init: State  # the cotangent of the initial state, from all resets, per example


def pull_back(
    residuals: Residuals,
    outputs_of: Callable,
    d_solution: Solution,
    loop: Callable,
    tile_size: int | None = None,
) -> Problem:
    """The cotangents of all inexact arrays of the problem.

    Args:
        residuals: from the forward pass.
        outputs_of: (cell, states, inputs, batch_axes) -> outputs, whose cotangents are given.
        d_solution: the cotangents of the solution.
        loop: the loop over the steps of a tile, with the arguments and results of `backward_loop`
            after its first.
        tile_size: steps per tile; None chooses from the sizes.
    """
    problem: Problem = eqx.combine(residuals.differentiable, residuals.constant)
    differentiable = residuals.differentiable
    axes, perturbation = problem.batch_axes, problem.flags.perturbation
    size = tile_size or segment_size(problem.time, tile_sizes_of(problem).backward)
    size = min(size, problem.time)

    def pull_readout(cell: AbstractCell, d_outputs: PyTree, *args: PyTree) -> tuple:
        readout = lambda *args: keep_inexact(outputs_of(*args, axes))  # noqa: E731
        return pull_to(readout, d_outputs, cell, *args)

    def pull_inputs(
        cell: AbstractCell, steps: tuple[State, PyTree, PyTree], *args: PyTree
    ) -> tuple:
        return rule_of(cell).pull_to_inputs(BackwardTile(cell, *steps, axes), *args)

    def tile(sums: _Sums, segment: tuple) -> tuple[_Sums, tuple[PyTree, PyTree]]:
        (inputs, flags, states, saved, d_outputs, d_states), first = segment
        d_cell_readout, d_readout, d_inputs_readout = pull_in_shares(
            pull_readout, problem.shares, problem.cell, d_outputs, states, inputs
        )
        if d_states is not None:
            d_readout = jax.tree.map(jnp.add, d_readout, d_states)
        before = _states_before(problem, first, states, flags)
        if saved is None:
            saved = _prepared(problem, before, inputs)
        steps = BackwardTile(problem.cell, before, saved, inputs, axes)
        d_state, d_init, d_updates, pulled = loop(
            problem, steps, (sums.state, sums.init), (d_readout, flags)
        )
        d_cell, d_inputs = pull_in_shares(
            pull_inputs, problem.shares, problem.cell, (before, saved, inputs), d_updates, pulled
        )
        d_cell = jax.tree.map(_accumulate, sums.cell, d_cell_readout, d_cell)
        d_inputs = jax.tree.map(jnp.add, d_inputs, d_inputs_readout)
        d_perturbation = None if perturbation is None else d_updates
        return _Sums(d_state, d_cell, d_init), (d_inputs, d_perturbation)

    d_final = d_solution.state
    zeros = jax.tree.map(jnp.zeros_like, d_final)
    wide = as_precision(differentiable.cell, precision((differentiable.cell, problem.state)))
    sums, (d_inputs, d_perturbation) = scan_segments(
        tile,
        _Sums(d_final, zeros_in_shares(wide, problem.shares), zeros),
        (*problem.steps, residuals.states, residuals.saved, d_solution.outputs, d_solution.states),
        size,
        per_segment=segment_starts(problem.state, residuals.states, size, reverse=problem.reverse),
        reverse=not problem.reverse,
    )
    d_cell = sum_of_shares(sums.cell, problem.shares)
    if isinstance(perturbation, ZeroPerturbations):
        d_perturbation = ZeroPerturbations(d_perturbation)
    return differentiable.replace(
        cell=jax.tree.map(lambda d, own: d.astype(own.dtype), d_cell, differentiable.cell),
        init=jax.tree.map(lambda d: d.sum(tuple(range(axes))), sums.init),
        state=sums.state,
        inputs=d_inputs,
        flags=StepFlags(perturbation=d_perturbation),
    )


def _states_before(problem: Problem, first: State, states: State, flags: StepFlags) -> State:
    """The state that each step of a tile starts from."""
    before = previous_states(first, states, reverse=problem.reverse)
    if flags.reset is None:
        return before

    def apply(flag: Array, state: State) -> State:
        return select(flag, problem.init, state)

    return vmap_axes(apply, 1 + problem.batch_axes)(flags.reset, before)


def _prepared(problem: Problem, before: State, inputs: PyTree) -> PyTree:
    """What the rule's `prepare` returns at each step of a tile."""
    prepare = vmap_batch(rule_of(problem.cell).prepare, problem.cell, problem.batch_axes, time=True)
    return prepare(before, drives_of(problem.cell, problem.state, inputs, problem.batch_axes))


def backward_loop(
    transform: Callable | None, problem: Problem, steps: BackwardTile, carry: tuple, xs: tuple
) -> tuple[State, State, State, PyTree]:
    """The steps of one tile, last one first.

    Args:
        transform: of the gradient between steps.
        problem: the run.
        steps: of the tile.
        carry: the cotangents of the state after the tile, and of the initial state so far.
        xs: the cotangents of the states from what is read out of them, and the flags.

    Returns:
        The cotangents of the state before the tile, of the initial state, of every updated state,
        and what the rule needs to know of each step.
    """
    axes = problem.batch_axes
    linear, pull = rule_of(problem.cell).linearise(steps)

    def choose(flag: Array | None, if_true: State, if_false: State) -> State:
        return if_false if flag is None else vmap_axes(select, axes)(flag, if_true, if_false)

    def step(carry: tuple, xs: tuple) -> tuple[tuple, tuple]:
        d_state, d_init = carry
        linear, d_readout, flags = xs
        d_state = jax.tree.map(jnp.add, d_state, d_readout)
        zeros = jax.tree.map(jnp.zeros_like, d_state)
        d_update = choose(flags.padding, zeros, d_state)
        d_start, pulled = pull(linear, d_update)
        if flags.reset is not None:
            d_init = jax.tree.map(jnp.add, d_init, choose(flags.reset, d_start, zeros))
        d_before = choose(flags.reset, zeros, d_start)
        if transform is not None:
            d_before = vmap_axes(transform, axes)(d_before, flags.step_index)
        d_state = choose(flags.padding, d_state, d_before)
        return (d_state, d_init), (d_update, pulled)

    d_readout, flags = xs
    flags = flags._replace(perturbation=None)
    (d_state, d_init), (d_updates, pulled) = jax.lax.scan(
        step,
        carry,
        (linear, d_readout, flags),
        reverse=not problem.reverse,
        unroll=tile_sizes_of(problem).backward_unroll,
    )
    return d_state, d_init, d_updates, pulled


def _accumulate(total: Array, *parts: Array) -> Array:
    return sum((part.astype(total.dtype) for part in parts), total)
