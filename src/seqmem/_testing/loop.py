"""The definition, slow and obvious: a Python loop of single steps over each sequence alone.

Nothing here is shared with the methods but the cell. Sequences and their steps are lists, not
axes; a sequence ends at its length and begins anew at a reset because the loop says so in Python.
The gradients are the chain rule, one step after another from the last to the first.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from .._core.cell import AbstractCell, project, readout, update
from .._core.precision import inexact, split
from .compiler import compiled


class Variation(NamedTuple):
    """What is special about the sequences of a batch."""

    name: str
    lengths: Int[np.ndarray, " batch"]
    resets: Bool[np.ndarray, "time batch"]


def step(
    cell: AbstractCell, state: PyTree, x: PyTree, perturbation: PyTree
) -> tuple[PyTree, PyTree]:
    """The definition: one call of the cell. A perturbation disturbs the new state before it is seen."""
    if perturbation is None:
        return cell(state, x)
    drive = project(cell, x, state)
    state = jax.tree.map(jnp.add, update(cell, state, drive), perturbation)
    return state, readout(cell, state, drive)


def first(cell: AbstractCell) -> PyTree:
    """What a sequence begins with."""
    return cell.init_state()


def pulled(fn: Callable, cotangents: Callable, *args: Any) -> tuple[PyTree, tuple[PyTree, ...]]:
    """What `fn(*args)` returns, and the gradients of `args` from `cotangents(what it returns)`."""
    moving, still = split(args)

    def differentiable(*moving):
        out = fn(*eqx.combine(moving, still))
        return inexact(out), out

    _, pull, out = jax.vjp(differentiable, *moving, has_aux=True)
    return out, pull(cotangents(out))


def pull(fn: Callable, d: PyTree, *args: Any) -> tuple[PyTree, ...]:
    """The gradients of `args`, from a cotangent of what `fn(*args)` returns."""
    return pulled(fn, lambda _: d, *args)[1]


def order(variation: Variation, example: int, *, reverse: bool) -> Iterator[tuple[int, bool]]:
    """The steps of one sequence as they are run, and whether each starts from the initial state."""
    length, begins = int(variation.lengths[example]), variation.resets[:, example]
    for t in reversed(range(length)) if reverse else range(length):
        # Going back, what separates x[t + 1] from x[t] is met before x[t].
        at = t + 1 if reverse else t
        yield t, at < length and bool(begins[at])


def looped(
    cell: AbstractCell,
    state: PyTree,
    xs: PyTree,
    variation: Variation,
    cotangents: PyTree,
    *,
    reverse: bool,
    perturbations: PyTree = None,
) -> dict[str, PyTree]:
    """Everything that `unroll` determines, by the loop. A state of None is the initial one."""
    time, batch = variation.resets.shape
    given = [None] * batch if state is None else unstacked(state, batch)
    inputs, disturbances = (_steps(tree, time, batch) for tree in (xs, perturbations))
    d_finals, d_outputs = unstacked(cotangents[0], batch), _steps(cotangents[1], time, batch)
    total = jax.tree.map(np.zeros_like, inexact(cell))
    alone = [
        _sequence(
            cell,
            given[example],
            inputs[example],
            disturbances[example],
            list(order(variation, example, reverse=reverse)),
            d_finals[example],
            d_outputs[example],
        )
        for example in range(batch)
    ]
    for sequence in alone:
        total = jax.tree.map(np.add, total, sequence["gradient of the parameters"])
    over_time = {
        name: time_second(stacked([stacked(sequence[name]) for sequence in alone]))
        for name in ("ys", "gradient of xs", "gradient of the states")
    }
    over_batch = {
        name: stacked([sequence[name] for sequence in alone])
        for name in ("final state", "gradient of the state")
    }
    return over_time | over_batch | {"gradient of the parameters": total}


def _sequence(cell, state, xs, perturbations, steps, d_state, d_ys) -> dict[str, PyTree]:
    """One sequence, forward and then back; `steps` are the t in order, and where it begins anew."""
    begins_itself = state is None
    if begins_itself:
        state = compiled(first)(cell)
    nothing = jax.eval_shape(step, cell, state, xs[0], perturbations[0])[1]
    ys = [jax.tree.map(lambda y: np.zeros(y.shape, y.dtype), nothing)] * len(xs)
    before = {}
    for t, begins in steps:
        before[t] = compiled(first)(cell) if begins else state
        state, ys[t] = compiled(step)(cell, before[t], xs[t], perturbations[t])

    d_cell = jax.tree.map(np.zeros_like, inexact(cell))
    d_xs, d_probes = (jax.tree.map(np.zeros_like, inexact(tree)) for tree in (xs, perturbations))

    def begin(d_cell: PyTree, d_state: PyTree) -> tuple[PyTree, PyTree]:
        (d_begun,) = compiled(pull, 0)(first, d_state, cell)
        return jax.tree.map(np.add, d_cell, d_begun), jax.tree.map(np.zeros_like, d_state)

    for t, begins in reversed(steps):
        d_here, d_state, d_xs[t], d_probes[t] = compiled(pull, 0)(
            step, (d_state, d_ys[t]), cell, before[t], xs[t], perturbations[t]
        )
        d_cell = jax.tree.map(np.add, d_cell, d_here)
        if begins:
            d_cell, d_state = begin(d_cell, d_state)
    if begins_itself:
        d_cell, _ = begin(d_cell, d_state)
    return {
        "ys": ys,
        "final state": state,
        "gradient of the parameters": d_cell,
        "gradient of the state": None if begins_itself else d_state,
        "gradient of xs": d_xs,
        "gradient of the states": d_probes,
    }


def _steps(tree: PyTree, time: int, batch: int) -> list[list[PyTree]]:
    """[time, batch, ...] as a list of sequences of steps."""
    if tree is None:
        return [[None] * time] * batch
    return unstacked(time_second(tree), batch, time)


def time_second(tree: PyTree) -> PyTree:
    """Time first to batch first, or back."""
    return jax.tree.map(lambda leaf: np.swapaxes(leaf, 0, 1), tree)


def unstacked(tree: PyTree[Array], *sizes: int) -> PyTree:
    """A tree of arrays as nested lists of trees: one list for each of the leading axes."""
    if not sizes:
        return tree
    return [
        unstacked(jax.tree.map(lambda leaf, i=i: leaf[i], tree), *sizes[1:])
        for i in range(sizes[0])
    ]


def stacked(trees: list[PyTree]) -> PyTree:
    """A list of trees as one tree of NumPy arrays."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
