"""Checks of a layer that is to be exported."""

from typing import Any

from .._core.cell import AbstractCell, AbstractLayer
from .._core.errors import bad_input
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
