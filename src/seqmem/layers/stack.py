"""Cells on top of each other: a stack is a cell, and is unrolled layer by layer."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree

from .._core.cell import (
    AbstractCell,
    Drive,
    Inputs,
    Output,
    State,
    Zeros,
    probe_values,
    project,
    readout,
    update,
)
from .._core.errors import bad_input
from .._methods.scan.bptt import show
from .._methods.default import default_method
from .._methods.report import both, run_with_report
from .._wrappers.input_dropout import with_input_dropout
from .._wrappers.learned_state import with_states
from .._methods.layer_by_layer import AbstractContainer, LayerByLayer, in_layers


class Stack(AbstractContainer):
    """Cells on top of each other: each sees the outputs of the one below.

        s¹_t = update¹(s¹_{t−1}, project¹(x_t))        y¹_t = readout¹(s¹_t)
        s²_t = update²(s²_{t−1}, project²(y¹_t))       y²_t = readout²(s²_t)        ...

    It is a cell: it steps, and every law holds for it. The state is a tuple, one entry per layer.
    `unroll` runs it layer by layer, each with its own best method;
    `method=seqmem.layers.LayerByLayer(...)` chooses them, any other method runs the stack as one
    cell.

    Args:
        cells: from the bottom up, at least one.

    Raises:
        ValueError: without a cell, or where something else stands among them.

    Example:
        >>> import jax, seqmem
        >>> low, high = jax.random.split(jax.random.key(0))
        >>> stack = seqmem.layers.Stack([seqmem.LSTM(3, 7, key=low), seqmem.GRU(7, 5, key=high)])
        >>> state, ys = seqmem.unroll(stack, stack.init_state(), jax.numpy.ones((11, 3)))
        >>> ys.shape
        (11, 5)
    """

    cells: tuple[AbstractCell, ...]

    def __init__(self, cells: Sequence[AbstractCell]):
        if not cells or not all(isinstance(cell, AbstractCell) for cell in cells):
            raise bad_input(
                f"Stack got {[type(cell).__name__ for cell in cells]}.",
                "one or more cells, from the bottom up.",
                "pass a list of cells.",
            )
        self.cells = tuple(cells)

    @property
    def input_axes(self) -> Any:  # pyright: ignore
        return self.cells[0].input_axes

    @property
    def input_size(self) -> int | None:
        return getattr(self.cells[0], "input_size", None)

    def init_state(self) -> State:
        return tuple(cell.init_state() for cell in self.cells)

    def project(self, x: PyTree) -> Drive:
        return x

    def update(self, state: State, drive: Drive) -> State:
        new = []
        for cell, own in zip(self.cells, state, strict=True):
            seen = project(cell, drive, own)
            new.append(update(cell, own, seen))
            drive = readout(cell, new[-1], seen)
        return tuple(new)

    def readout(self, state: State, drive: Drive) -> Output:
        for cell, own in zip(self.cells, state, strict=True):
            drive = readout(cell, own, project(cell, drive, own))
        return drive


@in_layers.register
def _(cell: Stack, own: LayerByLayer, init, state, inputs, *, batch_axes, reverse):
    methods = own.methods or (None,)
    methods = methods * len(cell.cells) if len(methods) == 1 else methods
    if len(methods) != len(cell.cells):
        raise bad_input(
            f"LayerByLayer got {len(methods)} methods for {len(cell.cells)} layers.",
            "none, one, or one for each layer.",
            "write None for a layer that should choose its own.",
        )
    final, after, x, report = [], [], inputs.x, None
    perturbed = inputs.marks.perturbation is not None
    perturbations = _per_layer(inputs.marks.perturbation, len(cell.cells))
    for layer, method, own_init, own_state, perturbation in zip(
        cell.cells, methods, init, state, perturbations, strict=True
    ):
        shows = with_states(layer) if perturbed else layer
        last, shown, told = run_with_report(
            method or default_method(shows),
            shows,
            own_init,
            own_state,
            Inputs(x, inputs.marks._replace(perturbation=perturbation)),
            batch_axes=batch_axes,
            reverse=reverse,
        )
        if perturbed:
            # Added to all states after the step: no layer sees that of another in it, ...
            after.append(shown[1])
            states = jax.tree.map(jnp.subtract, shown[1], probe_values(perturbation))
            shown = show(batch_axes, layer, states, x)
        final.append(last)
        x, report = shown, both(report, told)
    if perturbed:  # ... but what is shown is made of them all.
        x = show(batch_axes, cell, tuple(after), inputs.x)
    return tuple(final), x, report


def _per_layer(perturbation: Any, layers: int) -> tuple[Any, ...]:
    if perturbation is None:
        return (None,) * layers
    return tuple(map(Zeros, perturbation.values)) if isinstance(perturbation, Zeros) else tuple(perturbation)


@with_input_dropout.register
def _(cell: Stack, rate: float, batch_shape: tuple[int, ...], *, key: PRNGKeyArray) -> Stack:
    first, *above = cell.cells
    return Stack([with_input_dropout(first, rate, batch_shape, key=key), *above])
