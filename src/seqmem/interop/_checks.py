"""Checks of a layer that is to be exported."""

from collections.abc import Callable, Iterable
from typing import Any

from .._cells.gated.rnn import RNN
from .._core.cell import AbstractCell, AbstractLayer
from .._core.errors import bad_input
from ..layers.bidirectional import Bidirectional
from ..layers.stack import Stack


def check_type(cell: AbstractLayer, cell_type: type[AbstractCell]) -> None:
    """Refuse a cell of another type."""
    if not isinstance(cell, cell_type):
        raise bad_input(
            f"a cell of type {type(cell).__name__}.",
            f"{cell_type.__name__}.",
            "pass the cell itself, without a wrapper.",
        )


def check_layers(block: AbstractLayer, maker: str, *layers: type[AbstractCell]) -> None:
    """Refuse what is not a stack of such layers."""
    if not isinstance(block, Stack) or tuple(map(type, block.layers)) != layers:
        given = block.layers if isinstance(block, Stack) else [block]
        raise bad_input(
            f"a cell of {[type(layer).__name__ for layer in given]}.",
            f"{[layer.__name__ for layer in layers]}, as {maker} makes it.",
            "pass the block itself, without a wrapper.",
        )


def check_option(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Refuse an option that the module of the other library does not have."""
    if value not in allowed:
        raise bad_input(
            f"a block with {name}={value}.",
            f"{' or '.join(map(str, allowed))}, since the module has no other.",
            f"make the block with another {name}, or do not export it.",
        )


def check_cell_type(
    function: str, cell_type: type[AbstractLayer], known: Iterable[type[AbstractLayer]]
) -> None:
    """Refuse a type of cell that the other library does not have."""
    if cell_type not in known:
        raise bad_input(
            f"{function} got a cell of type {getattr(cell_type, '__name__', cell_type)}.",
            f"one of {', '.join(cell.__name__ for cell in known)}.",
            "pass the type itself to convert from another library, and the cell itself, without a "
            "wrapper, to convert to it.",
        )


def cell_type_of(
    function: str, net: AbstractLayer, known: Iterable[type[AbstractLayer]]
) -> type[AbstractLayer]:
    """The type of a cell, or of both cells of a `Bidirectional`, checked."""
    is_bidirectional = isinstance(net, Bidirectional)
    cells = (net.forward, net.backward) if is_bidirectional else (net,)
    for cell in cells:
        check_cell_type(function, type(cell), known)
    if len({(type(cell), getattr(cell, "activation", None)) for cell in cells}) != 1:
        raise bad_input(
            f"{function} got a Bidirectional of {[type(cell).__name__ for cell in cells]}.",
            "two cells of one type and activation.",
            "convert its cells one by one.",
        )
    return type(cells[0])


def check_activation_of(
    function: str, cell_type: type[AbstractLayer], activation: Callable | None
) -> None:
    """Refuse an activation for a cell that has none."""
    if activation is not None and cell_type is not RNN:
        raise bad_input(
            f"{function} got activation={activation!r} for {cell_type.__name__}.",
            "an activation for seqmem.RNN alone.",
            "leave it out.",
        )


def check_without_output(net: AbstractLayer, readout: str) -> None:
    """Refuse an RNN with an output size."""
    cells = (net.forward, net.backward) if isinstance(net, Bidirectional) else (net,)
    if any(getattr(cell, "V", None) is not None for cell in cells):
        raise bad_input(
            "an RNN with an output size.",
            "one that outputs its state, as those of other libraries do.",
            f"convert the cell without V, and add a {readout} with V after it.",
        )
