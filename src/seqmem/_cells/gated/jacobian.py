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

    Since mix is affine, its diagonal does not depend on the step: it is computed once, at `drive`.
    The result is exact if the gate is elementwise and the last axes of z are those of a leaf of the
    state. Otherwise it is an approximation, which changes the number of iterations only.
    """

    def mix_derivative(leaf_index: int, direction: complex) -> PyTree:
        """∂z/∂(the entry of one leaf with the same index), in that direction."""
        leaf = jax.tree.leaves(init)[leaf_index]

        def column(unit: Array) -> PyTree:
            tangent = tangent_of_leaf(init, leaf_index, unit.reshape(leaf.shape))
            return jax.jvp(lambda s: mix(cell, s, drive), (init,), (tangent,))[1]

        def diagonal_entries(columns: Array) -> Array:
            z = columns.shape[1:]
            if leaf.ndim > len(z) or z[len(z) - leaf.ndim :] != leaf.shape:
                return jnp.zeros(z, columns.dtype)
            square = columns.reshape(leaf.size, -1, leaf.size)
            return jnp.diagonal(square, axis1=0, axis2=2).reshape(z)

        basis = jnp.asarray(direction, leaf.dtype) * jnp.eye(leaf.size, dtype=leaf.dtype)
        return jax.tree.map(diagonal_entries, jax.vmap(column)(basis))

    mix_derivatives = {
        (leaf_index, direction): mix_derivative(leaf_index, direction)
        for leaf_index, leaf in enumerate(jax.tree.leaves(init))
        for direction in directions_of(leaf)
    }

    def diagonal(state, drive):
        z = mix(cell, state, drive)

        def derivative(leaf_index: int, direction: complex) -> Array:
            leaf = jax.tree.leaves(state)[leaf_index]
            ones = jnp.full(leaf.shape, jnp.asarray(direction, leaf.dtype))
            d_state = tangent_of_leaf(state, leaf_index, ones)
            d_z = mix_derivatives[leaf_index, direction]
            d_next = jax.jvp(lambda s, z: gate(cell, s, z), (state, z), (d_state, d_z))[1]
            return jax.tree.leaves(d_next)[leaf_index]

        return diagonal_by_leaf(state, derivative)

    return diagonal
