"""Arrays by the names that another library gives them, checked, and a cell made of arrays."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._cell import AbstractCell
from .._errors import bad_input


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


def filled(
    cell_type: type[AbstractCell], *sizes: int, fields: Mapping[str, Any], **options: Any
) -> Any:
    """A cell of these sizes with its parameters given; none is drawn."""
    cell = eqx.filter_eval_shape(cell_type, *sizes, **options, key=jax.random.key(0))
    # Copies, since a NumPy array, or the tensor behind it, may be written to later.
    values = [jnp.array(value) for value in fields.values()]
    return eqx.tree_at(lambda cell: [getattr(cell, field) for field in fields], cell, values)
