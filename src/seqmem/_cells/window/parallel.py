"""All steps of a window cell at once: entries are known before any step is run."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.cell import Drive, State
from ..._methods.scan.bptt import projected, shown_from
from ..._methods.default import default_method
from ..._methods.parallel import Parallel, in_parallel
from ..._methods.scan.scan import Scan
from ..._core.batching import each
from .base import AbstractWindowCell, readout_sequence
from .history import History, steps_since_reset


@default_method.register
def _(cell: AbstractWindowCell):
    return Parallel()


@in_parallel.register
def _(cell: AbstractWindowCell, init, state, inputs, *, batch_axes, reverse, block):
    x, marks = inputs
    if marks.perturbation is not None:  # they have the size of all windows: nothing is left to save
        return Scan().run(cell, init, state, inputs, batch_axes=batch_axes, reverse=reverse)
    if not inputs.time:
        return state, shown_from(batch_axes, cell, init, x)
    drives = projected(batch_axes, cell, init, x)
    one = functools.partial(_one_example, init, reverse)
    mapped = each(one, cell, batch_axes, in_axes=(0, 1, 1, 1), out_axes=(0, 1))
    return mapped(state, drives, marks.reset, marks.hold)


def _one_example(
    init: State,
    reverse: bool,
    cell: AbstractWindowCell,
    state: State,
    drives: Drive,
    reset: Array | None,
    hold: Array | None,
) -> tuple[State, PyTree]:
    """The steps are put in the order in which they are run: padding is then last, or first with
    `reverse`, where the state takes the place of the padding before the first valid step.
    """

    def in_order(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jnp.flip(leaf, 0), tree) if reverse else tree

    drives, reset, hold = in_order((drives, reset, hold))
    entry, _ = drives
    entries = jax.tree.map(lambda s, e: jnp.concatenate([s, e]), state, entry)
    time = jax.tree.leaves(entry)[0].shape[0]
    steps = time if hold is None else time - hold.sum()
    if hold is not None and reverse:
        entries = jax.tree.map(
            lambda e, s: jax.lax.dynamic_update_slice_in_dim(e, s, time - steps, 0), entries, state
        )
        steps = time
    size = jax.tree.leaves(init)[0].shape[0]
    history = History(entries, init, None if reset is None else steps_since_reset(reset, size))
    ys = readout_sequence(cell, history, drives)
    return history.after(steps), in_order(ys)
