"""The axes of a cell's parameters that count the units of its state."""

import jax
from jaxtyping import PyTree

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.precision import keep_inexact
from ._real_parameters import real_leaves
from ._traces import UnitTrace

NO_UNITS = -1  # in place of None, which would not be a leaf


def unit_trace(cell: AbstractCell, unit_axes: PyTree) -> UnitTrace:
    """The form of the trace for units that do not feed each other.

    Args:
        cell: a cell whose state is one vector.
        unit_axes: a prefix of the cell's tree, with an axis or None for each parameter.

    Raises:
        ValueError: where the state has another shape, or an axis does not count its units.
    """
    states = jax.tree.leaves(jax.eval_shape(cell.init_state))
    if len(states) != 1 or states[0].ndim != 1:
        raise bad_input(
            f"RTRL got unit_axes for a state of shapes {[leaf.shape for leaf in states]}.",
            "a state of one array, [units].",
            "leave unit_axes out; the trace is then complete.",
        )
    (num_units,) = states[0].shape
    axes = _axes_of_leaves(cell, unit_axes)
    for (path, leaf), axis in zip(jax.tree.leaves_with_path(keep_inexact(cell)), axes, strict=True):
        if axis == NO_UNITS:
            continue
        if not 0 <= axis < leaf.ndim or leaf.shape[axis] != num_units:
            raise bad_input(
                f"unit_axes has axis {axis} for the cell's {jax.tree_util.keystr(path)}, of shape "
                f"{leaf.shape}.",
                f"an axis of {num_units} entries, the units of the state, or None.",
                "name the axis that counts units; None if the parameter feeds no state.",
            )
    real_axes = (axes[index] for index in real_leaves(cell))
    return UnitTrace(num_units, tuple(None if axis == NO_UNITS else axis for axis in real_axes))


def _axes_of_leaves(cell: AbstractCell, unit_axes: PyTree) -> list[int]:
    """The axis for each inexact array of the cell, from a prefix of its tree."""

    def repeat(axis: int | None, part: PyTree) -> PyTree:
        return jax.tree.map(lambda _: NO_UNITS if axis is None else axis, part)

    try:
        axes = jax.tree.map(
            repeat, unit_axes, keep_inexact(cell), is_leaf=lambda node: node is None
        )
    except (ValueError, TypeError) as error:
        raise bad_input(
            f"RTRL got unit_axes={unit_axes!r}.",
            "a prefix of the cell's tree, with an axis or None for each parameter.",
            "change the leaves of jax.tree.map(lambda _: 0, cell).",
        ) from error
    return jax.tree.leaves(axes)
