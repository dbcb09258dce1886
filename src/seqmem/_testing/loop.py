"""The definition, slow and obvious: a Python loop of single steps over each sequence alone.

Nothing here is shared with the methods but the cell. Sequences and their steps are lists, not axes; a sequence
ends at its length and begins anew at a reset because the loop says so in Python.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from .._cell import AbstractCell, project, readout, update
from .._precision import inexact, split


class Variation(NamedTuple):
    """What is special about the sequences of a batch."""

    name: str
    lengths: Int[np.ndarray, " batch"]
    resets: Bool[np.ndarray, "time batch"]


@jax.jit
def single_step(cell: AbstractCell, state: PyTree, x: PyTree) -> tuple[PyTree, PyTree]:
    """The definition: one call of the cell."""
    return cell(state, x)


@jax.jit
def probed_step(
    cell: AbstractCell, state: PyTree, x: PyTree, probe: PyTree
) -> tuple[PyTree, PyTree]:
    """One step whose new state is disturbed before anyone sees it."""
    drive = project(cell, x, state)
    state = jax.tree.map(jnp.add, update(cell, state, drive), probe)
    return state, readout(cell, state, drive)


@jax.jit
def first_state(cell: AbstractCell) -> PyTree:
    """What a sequence begins with."""
    return cell.init_state()


def order(variation: Variation, example: int, *, reverse: bool) -> list[tuple[int, bool]]:
    """The steps of one sequence as they are run, and whether each starts from the initial state."""
    length = int(variation.lengths[example])
    begins = variation.resets[:, example]
    if reverse:
        return [(t, t + 1 < length and bool(begins[t + 1])) for t in reversed(range(length))]
    return [(t, bool(begins[t])) for t in range(length)]


def loop(
    cell: AbstractCell,
    states: list[PyTree],
    xs: list[list[PyTree]],
    variation: Variation,
    *,
    reverse: bool,
    probes: list[list[PyTree]] | None = None,
) -> tuple[list[PyTree], list[list[PyTree]]]:
    """The final state of each sequence, and its outputs as a list of steps, None beyond its length."""
    finals, outputs = [], []
    for example, (state, sequence) in enumerate(zip(states, xs, strict=True)):
        ys: list[PyTree] = [None] * len(sequence)
        for t, begins in order(variation, example, reverse=reverse):
            if begins:
                state = first_state(cell)
            if probes is None:
                state, ys[t] = single_step(cell, state, sequence[t])
            else:
                state, ys[t] = probed_step(cell, state, sequence[t], probes[example][t])
        finals.append(state)
        outputs.append(ys)
    return finals, outputs


def pulled(fn: Callable, cotangents: Callable, *args: Any) -> tuple[PyTree, tuple[PyTree, ...]]:
    """What `fn(*args)` returns, and the gradients of `args` from `cotangents(what it returns)`."""
    moving, still = split(args)

    def differentiable(*moving):
        out = fn(*eqx.combine(moving, still))
        return inexact(out), out

    _, pull, out = jax.vjp(differentiable, *moving, has_aux=True)
    return out, pull(cotangents(out))


def unstacked(tree: PyTree[Array], axes: int) -> PyTree:
    """A tree of arrays as (nested) lists of trees, one list for each of the leading axes."""
    if not axes:
        return tree
    count = jax.tree.leaves(tree)[0].shape[0]
    return [unstacked(jax.tree.map(lambda leaf: leaf[i], tree), axes - 1) for i in range(count)]


def stacked(trees: list[PyTree]) -> PyTree:
    """A list of trees as one tree of NumPy arrays."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
