"""The diagonal of a gated cell's Jacobian: one derivative of the gate per leaf of the state."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.problem import Drive, State
from ..._methods.newton.jacobian_diagonal import diagonal_by_leaf, directions_of, tangent_of_leaf


def gate_jacobian_diagonal(
    cell: Any, init: State, drive: Drive, mix: Callable, gate: Callable
) -> Callable[[State, Drive], State]:
    """(state, drive) ↦ diag ∂gate(s, mix(s, u))/∂s.

    The diagonal of `mix` is the same everywhere, since mix is affine: it is taken once, at `drive`.
    The gate is taken to work entry by entry, and the last axes of z to be those of a leaf of the
    state; otherwise the result is an approximation, and only the number of iterations changes.
    """

    def mix_derivative(place: int, direction: complex) -> PyTree:
        """∂z/∂(the entry of one leaf at the same place), in that direction."""
        leaf = jax.tree.leaves(init)[place]

        def column(one: Array) -> PyTree:
            tangent = tangent_of_leaf(init, place, one.reshape(leaf.shape))
            return jax.jvp(lambda s: mix(cell, s, drive), (init,), (tangent,))[1]

        def own_entries(columns: Array) -> Array:
            z = columns.shape[1:]
            if leaf.ndim > len(z) or z[len(z) - leaf.ndim :] != leaf.shape:
                return jnp.zeros(z, columns.dtype)
            square = columns.reshape(leaf.size, -1, leaf.size)
            return jnp.diagonal(square, axis1=0, axis2=2).reshape(z)

        basis = jnp.asarray(direction, leaf.dtype) * jnp.eye(leaf.size, dtype=leaf.dtype)
        return jax.tree.map(own_entries, jax.vmap(column)(basis))

    mixed = {
        (place, direction): mix_derivative(place, direction)
        for place, leaf in enumerate(jax.tree.leaves(init))
        for direction in directions_of(leaf)
    }

    def diagonal(state, drive):
        z = mix(cell, state, drive)

        def of_leaf(place: int, direction: complex) -> Array:
            leaf = jax.tree.leaves(state)[place]
            all_ = jnp.full(leaf.shape, jnp.asarray(direction, leaf.dtype))
            tangents = tangent_of_leaf(state, place, all_), mixed[place, direction]
            moved = jax.jvp(lambda s, z: gate(cell, s, z), (state, z), tangents)[1]
            return jax.tree.leaves(moved)[place]

        return diagonal_by_leaf(state, of_leaf)

    return diagonal
