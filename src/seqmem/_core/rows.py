"""A state as rows: an array whose columns are units, each with all of its numbers."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .problem import State


def to_rows(state: State, axes: int = 0, unit_axes: int | None = None) -> Array:
    """A state as an array [..., k, n]: k numbers of each of n units, array after array.

    Args:
        state: arrays with the same units.
        axes: how many axes stand in front of those of one state.
        unit_axes: how many of the last axes count units; None is all axes of one state.
    """
    parts = []
    for leaf in jax.tree.leaves(state):
        front, one = leaf.shape[:axes], leaf.shape[axes:]
        parts.append(leaf.reshape(*front, *_row_shape(one, unit_axes)))
    return jnp.concatenate(parts, axes)


def from_rows(rows: Array, like: State, unit_axes: int | None = None) -> State:
    """The state of an array [..., k, n]; `like` is one state."""
    leaves, structure = jax.tree.flatten(like)
    front, start, parts = rows.shape[:-2], 0, []
    for leaf in leaves:
        end = start + _row_shape(leaf.shape, unit_axes)[0]
        parts.append(rows[..., start:end, :].reshape(*front, *leaf.shape))
        start = end
    return structure.unflatten(parts)


def _row_shape(shape: tuple[int, ...], unit_axes: int | None) -> tuple[int, int]:
    """How many numbers of a unit one array of the state holds, and how many units there are."""
    within = 0 if unit_axes is None else len(shape) - unit_axes
    return math.prod(shape[:within]), math.prod(shape[within:])
