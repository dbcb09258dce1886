"""Arrays by the names that another library gives them, checked, and a cell made of arrays."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.precision import precision
from ..layers.stack import Stack


def floating(name: str, value: Any, axes: int, *, remedy: str) -> Array | np.ndarray:
    """One array as it is, of so many axes."""
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if array.ndim != axes or not jnp.issubdtype(array.dtype, jnp.floating):
        raise bad_input(
            f"{name} is {array.dtype} of shape {array.shape}.",
            f"floating point numbers with {axes} axes.",
            remedy,
        )
    return array


def all_floating(
    given: Mapping[str, Any], axes: Mapping[str, int], *, remedy: str
) -> dict[str, Array | np.ndarray]:
    """The arrays whose names and axes are told, all of which are there."""
    if not axes.keys() <= given.keys():
        raise bad_input(f"names {sorted(given)}.", f"{sorted(axes)} among them.", remedy)
    return {name: floating(name, given[name], own, remedy=remedy) for name, own in axes.items()}


def no_others(
    given: Mapping[str, Any], axes: Mapping[str, int], *, remedy: str
) -> dict[str, Array | np.ndarray]:
    """The arrays whose names and axes are told, beside which nothing may stand, in the widest
    precision among them.
    """
    if given.keys() != axes.keys():
        raise bad_input(f"names {sorted(given)}.", f"{sorted(axes)}, and no others.", remedy)
    arrays = all_floating(given, axes, remedy=remedy)
    widest = jax.dtypes.canonicalize_dtype(precision(arrays))
    return {name: array.astype(widest) for name, array in arrays.items()}


def check_shapes(
    arrays: Mapping[str, Array | np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    whose: str,
    remedy: str,
) -> None:
    """Refuse the first array that has another shape than is told."""
    for name, array in arrays.items():
        if array.shape != shapes[name]:
            raise bad_input(
                f"{name} has shape {array.shape}.", f"{shapes[name]}, for {whose}.", remedy
            )


def check_type(cell: AbstractCell, cell_type: type[AbstractCell]) -> None:
    """Refuse a cell of another type."""
    if not isinstance(cell, cell_type):
        raise bad_input(
            f"a cell of type {type(cell).__name__}.",
            f"{cell_type.__name__}.",
            "pass the cell itself, without a modifier around it.",
        )


def at(tree: Any, path: str) -> Any:
    """What stands at a path such as "layers.1.W_o"."""
    for step in path.split("."):
        tree = tree[int(step)] if step.isdigit() else getattr(tree, step)
    return tree


def check_layers(block: AbstractCell, made_by: str, *layers: type[AbstractCell]) -> None:
    """Refuse what is not a stack of such layers."""
    if not isinstance(block, Stack) or tuple(map(type, block.layers)) != layers:
        cells = block.layers if isinstance(block, Stack) else [block]
        raise bad_input(
            f"a cell of {[type(cell).__name__ for cell in cells]}.",
            f"{[layer.__name__ for layer in layers]}, as {made_by} makes it.",
            "pass the block itself, without a modifier around it.",
        )


def check_option(name: str, value: Any, known: tuple[Any, ...]) -> None:
    """Refuse to give away a cell with an option that the other library does not have."""
    if value not in known:
        raise bad_input(
            f"a block with {name}={value}.",
            f"{' or '.join(map(str, known))}, which is all that the module has.",
            f"make the block with another {name}, or keep it.",
        )


def filled(
    make: Callable[..., AbstractCell], *sizes: int, fields: Mapping[str, Any], **options: Any
) -> Any:
    """What `make` makes of these sizes, with its parameters given by their paths; none is drawn."""
    cell = eqx.filter_eval_shape(make, *sizes, **options, key=jax.random.key(0))
    # Copies, since a NumPy array, or the tensor behind it, may be written to later.
    values = [jnp.array(value) for value in fields.values()]
    return eqx.tree_at(lambda cell: [at(cell, path) for path in fields], cell, values)
