"""The diagonal of a gated cell's Jacobian: one derivative of the gate per leaf of the state."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.cell import project
from ..._methods.newton.jacobian_diagonal import by_leaf, directions, jacobian_diagonal, only
from .base import AbstractGatedCell, gate, mix


@jacobian_diagonal.register
def _(cell: AbstractGatedCell, init, x):
    """The diagonal of `mix` is the same everywhere, since mix is affine: it is taken once.

    The gate is taken to work entry by entry, and the last axes of z to be a leaf's; another gate
    gets another matrix than the diagonal, which costs sweeps, no digit.
    """
    drive = project(cell, x, init)

    def mix_moves(place: int, direction: complex) -> PyTree:
        """How fast each z changes when its own entry of one leaf moves in that direction."""
        leaf = jax.tree.leaves(init)[place]

        def column(one: Array) -> PyTree:
            tangent = only(init, place, one.reshape(leaf.shape))
            return jax.jvp(lambda s: mix(cell, s, drive), (init,), (tangent,))[1]

        def own(columns: Array) -> Array:
            z = columns.shape[1:]
            if leaf.ndim > len(z) or z[len(z) - leaf.ndim :] != leaf.shape:
                return jnp.zeros(z, columns.dtype)
            square = columns.reshape(leaf.size, -1, leaf.size)
            return jnp.diagonal(square, axis1=0, axis2=2).reshape(z)

        basis = jnp.asarray(direction, leaf.dtype) * jnp.eye(leaf.size, dtype=leaf.dtype)
        return jax.tree.map(own, jax.vmap(column)(basis))

    mixed = {
        (place, direction): mix_moves(place, direction)
        for place, leaf in enumerate(jax.tree.leaves(init))
        for direction in directions(leaf)
    }

    def diagonal(state, drive):
        z = mix(cell, state, drive)

        def of_leaf(place: int, direction: complex) -> Array:
            leaf = jax.tree.leaves(state)[place]
            all_ = jnp.full(leaf.shape, jnp.asarray(direction, leaf.dtype))
            tangents = only(state, place, all_), mixed[place, direction]
            moved = jax.jvp(lambda s, z: gate(cell, s, z), (state, z), tangents)[1]
            return jax.tree.leaves(moved)[place]

        return by_leaf(state, of_leaf)

    return diagonal
