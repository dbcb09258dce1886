"""The definition, slow and obvious: a Python loop of single steps over each sequence by itself.

It shares nothing with the methods but the cell. Sequences and their steps are lists, not axes; the
loop stops at a length and starts again at a reset in plain Python. The gradients are the chain
rule, step by step from the last to the first.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from .._core.cell import AbstractCell, project, readout, update
from .._core.precision import keep_inexact
from .._core.problem import Output, State
from .compiler import compiled
from .gradients import vjp
from .runs import Values


class SequenceFlags(NamedTuple):
    """Lengths, resets and a mask of a batch of sequences, with a name for messages."""

    name: str
    lengths: Int[np.ndarray, " batch"]
    resets: Bool[np.ndarray, "time batch"]
    mask: Bool[np.ndarray, "time batch"] | None = None


def step(cell: AbstractCell, state: State, x: PyTree) -> tuple[State, Output]:
    """The definition of a step: one call of the cell."""
    return cell(state, x)


def perturbed_step(
    cell: AbstractCell, state: State, x: PyTree, perturbation: State
) -> tuple[State, Output]:
    """A step whose new state is perturbed before it is read."""
    drive = project(cell, x, state)
    state = jax.tree.map(jnp.add, update(cell, state, drive), perturbation)
    return state, readout(cell, state, drive)


def initial_state(cell: AbstractCell) -> State:
    """The state before the first step."""
    return cell.init_state()


def zeros_like(tree: PyTree) -> PyTree:
    """NumPy zeros in the shapes of a tree."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)


def step_order(flags: SequenceFlags, example: int, *, reverse: bool) -> list[tuple[int, bool]]:
    """(t, whether step t starts from the initial state) for one sequence, in the run's order."""
    length, resets = int(flags.lengths[example]), flags.resets[:, example]
    valid = [t for t in range(length) if flags.mask is None or flags.mask[t, example]]
    if not reverse:
        return [(t, bool(resets[t])) for t in valid]
    # In reverse, the reset between x[t] and the valid step after it comes before step t.
    borders = [*(bool(resets[t]) for t in valid[1:]), False]
    return list(zip(valid, borders, strict=False))[::-1]


class Sequence(NamedTuple):
    """One sequence: its state before the first step (None: the initial state), its inputs, the
    order of its steps, and cotangents of all its values.
    """

    state: State | None
    xs: list[PyTree]
    order: list[tuple[int, bool]]
    cotangents: Values


def run_reference(
    cell: AbstractCell,
    state: State | None,
    xs: PyTree,
    flags: SequenceFlags,
    cotangents: Values,
    *,
    reverse: bool,
) -> dict[str, PyTree]:
    """All values and gradients of a batch, as `evaluate` returns them."""
    time, batch = flags.resets.shape
    unset = [[None] * time] * batch
    states = [None] * batch if state is None else unstack(state, batch)
    inputs = unstack(swap_time_and_batch(xs), batch, time)
    d_finals = unstack(cotangents.state, batch)
    d_outputs = unstack(swap_time_and_batch(cotangents.outputs), batch, time)
    d_states = unset
    if cotangents.states is not None:
        d_states = unstack(swap_time_and_batch(cotangents.states), batch, time)
    results = []
    for i in range(batch):
        order = step_order(flags, i, reverse=reverse)
        values = Values(d_finals[i], d_outputs[i], d_states[i])
        results.append(_run_sequence(cell, Sequence(states[i], inputs[i], order, values)))
    total = zeros_like(keep_inexact(cell))
    for result in results:
        total = jax.tree.map(np.add, total, result["gradient of the parameters"])
    per_step = {
        name: swap_time_and_batch(stack([stack(result[name]) for result in results]))
        for name in ("ys", "states", "gradient of xs", "gradient of the states")
    }
    per_sequence = {
        name: stack([result[name] for result in results])
        for name in ("final state", "gradient of the state")
    }
    return per_step | per_sequence | {"gradient of the parameters": total}


def _run_sequence(cell: AbstractCell, sequence: Sequence) -> dict[str, PyTree]:
    """One sequence, forward and then backward."""
    state = compiled(initial_state)(cell) if sequence.state is None else sequence.state
    output = jax.eval_shape(step, cell, state, sequence.xs[0])[1]
    ys = [zeros_like(output)] * len(sequence.xs)
    states = [zeros_like(state)] * len(sequence.xs)
    before = {}
    for t, is_reset in sequence.order:
        before[t] = compiled(initial_state)(cell) if is_reset else state
        state, ys[t] = compiled(step)(cell, before[t], sequence.xs[t])
        states[t] = state

    d_state, d_ys = sequence.cotangents[:2]
    d_states: Any = sequence.cotangents.states
    d_cell = zeros_like(keep_inexact(cell))
    d_xs = [zeros_like(keep_inexact(x)) for x in sequence.xs]
    d_perturbations = [zeros_like(keep_inexact(state))] * len(sequence.xs)
    no_perturbation = zeros_like(state)

    def start(d_cell: PyTree, d_state: State) -> tuple[PyTree, State]:
        """The initial state is a function of the parameters, and of no earlier state."""
        (d_init,) = compiled(vjp, 0)(initial_state, d_state, cell)
        return jax.tree.map(np.add, d_cell, d_init), zeros_like(d_state)

    for t, is_reset in reversed(sequence.order):
        if d_states[t] is not None:
            d_state = jax.tree.map(np.add, d_state, d_states[t])
        d_cell_step, d_state, d_xs[t], d_perturbations[t] = compiled(vjp, 0)(
            perturbed_step, (d_state, d_ys[t]), cell, before[t], sequence.xs[t], no_perturbation
        )
        d_cell = jax.tree.map(np.add, d_cell, d_cell_step)
        if is_reset:
            d_cell, d_state = start(d_cell, d_state)
    if sequence.state is None:
        d_cell, _ = start(d_cell, d_state)
    return {
        "ys": ys,
        "states": states,
        "final state": state,
        "gradient of the parameters": d_cell,
        "gradient of the state": None if sequence.state is None else d_state,
        "gradient of xs": d_xs,
        "gradient of the states": d_perturbations,
    }


def swap_time_and_batch(tree: PyTree) -> PyTree:
    """[time, batch, ...] as [batch, time, ...], or back."""
    return jax.tree.map(lambda leaf: np.swapaxes(leaf, 0, 1), tree)


def unstack(tree: PyTree[Array], *sizes: int) -> PyTree:
    """A tree of arrays as nested lists of trees: one list for each of the leading axes."""
    if not sizes:
        return tree
    return [
        unstack(jax.tree.map(lambda leaf, i=i: leaf[i], tree), *sizes[1:]) for i in range(sizes[0])
    ]


def stack(trees: list[PyTree]) -> PyTree:
    """A list of trees as one tree of NumPy arrays."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
