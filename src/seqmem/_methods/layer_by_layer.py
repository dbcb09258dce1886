"""What is made of cells, and the method that runs it one cell after another."""

import dataclasses
import functools

from jaxtyping import PyTree

from .._core.cell import AbstractCell, Drive, Inputs, Output, State, readout, update
from .._core.errors import bad_input
from .._core.method import AbstractMethod
from .default import default_method
from .report import Stats, run_with_report


class AbstractContainer(AbstractCell):
    """A cell that hands its work to others, each in its own precision, and that `LayerByLayer` runs
    by the methods of these: it registers `in_layers`.
    """


@dataclasses.dataclass(frozen=True)
class LayerByLayer(AbstractMethod):
    """Run a stack one layer after the other, over all of time each.

    Args:
        methods: one for each layer, or one for all; None chooses the best for a layer's cell.
            Without any, that is what every layer gets.

    Example:
        >>> import seqmem
        >>> seqmem.layers.LayerByLayer(seqmem.Scan(recompute=True), None)
        LayerByLayer(Scan(gradient='bptt', recompute=True, block=None, transform=None), None)
    """

    methods: tuple[AbstractMethod | None, ...]

    def __init__(self, *methods: AbstractMethod | None):
        object.__setattr__(self, "methods", methods)

    def __repr__(self) -> str:
        return f"LayerByLayer({', '.join(map(repr, self.methods))})"

    @property
    def looks_at_borders(self) -> bool:
        return any(method is not None and method.looks_at_borders for method in self.methods)

    def run(self, cell, init, state, inputs, *, batch_axes, reverse):
        return run_with_report(
            self, cell, init, state, inputs, batch_axes=batch_axes, reverse=reverse
        )[:2]


@run_with_report.register
def _(own: LayerByLayer, cell, init, state, inputs, *, batch_axes, reverse):
    return in_layers(cell, own, init, state, inputs, batch_axes=batch_axes, reverse=reverse)


@functools.singledispatch
def in_layers(
    cell: AbstractCell,
    own: LayerByLayer,
    init: State,
    state: State,
    inputs: Inputs,
    *,
    batch_axes: int,
    reverse: bool,
) -> tuple[State, PyTree, Stats | None]:
    """`run_with_report`, one cell after another; what is made of cells registers how."""
    raise bad_input(
        f"LayerByLayer got a cell of type {type(cell).__name__}.",
        "a seqmem.layers.Stack, or another cell that is made of cells.",
        "pass one of its methods itself, e.g. method=seqmem.Scan().",
    )


@update.register
def _(cell: AbstractContainer, state: State, drive: Drive) -> State:
    return cell.update(state, drive)


@readout.register
def _(cell: AbstractContainer, state: State, drive: Drive) -> Output:
    return cell.readout(state, drive)


@default_method.register
def _(cell: AbstractContainer) -> AbstractMethod:
    return LayerByLayer()
