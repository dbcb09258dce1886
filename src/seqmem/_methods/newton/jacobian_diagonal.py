"""The diagonal of a step's Jacobian, ∂s'ᵢ/∂sᵢ, for methods that need only an approximation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.cell import AbstractCell, update
from ..._core.problem import Drive, State

Diagonal = Callable[[State, Drive], State]


def jacobian_diagonal(cell: AbstractCell, init: State, x: PyTree) -> Diagonal:
    """(s, u) ↦ diag ∂update(s, u)/∂s, for one example, in the shapes of the state.

    By the rule of the cell's family, else by one derivative per entry of the state.

    Args:
        cell: the cell.
        init: `cell.init_state()`.
        x: some input, for what a family computes once.
    """
    if cell.family.jacobian_diagonal is not None:
        return cell.family.jacobian_diagonal(cell, init, x)

    def diagonal(state: State, drive: Drive) -> State:
        def step(state: State) -> State:
            return update(cell, state, drive)

        def of_leaf(place: int, direction: complex) -> Array:
            leaf = jax.tree.leaves(state)[place]

            def entry(i: Array) -> Array:
                one = jnp.zeros(leaf.size, leaf.dtype).at[i].set(jnp.asarray(direction, leaf.dtype))
                moved = jax.jvp(
                    step, (state,), (tangent_of_leaf(state, place, one.reshape(leaf.shape)),)
                )[1]
                return jax.tree.leaves(moved)[place].ravel()[i]

            return jax.lax.map(entry, jnp.arange(leaf.size)).reshape(leaf.shape)

        return diagonal_by_leaf(state, of_leaf)

    return diagonal


def tangent_of_leaf(state: State, place: int, tangent: Array) -> State:
    """A tangent of the state that moves one of its leaves alone."""
    leaves, tree = jax.tree.flatten(state)
    tangents = [jnp.zeros_like(leaf) for leaf in leaves]
    tangents[place] = tangent
    return jax.tree.unflatten(tree, tangents)


def directions_of(leaf: Array) -> tuple[complex, ...]:
    """Those in which an entry of a leaf can move."""
    return (1.0, 1j) if jnp.iscomplexobj(leaf) else (1.0,)


def diagonal_by_leaf(state: State, of_leaf: Callable[[int, complex], Array]) -> State:
    """The diagonals of all leaves, from `of_leaf(place, direction)`, the derivative of each entry
    of a leaf with respect to itself in that direction.

    Of complex entries it is Wirtinger's derivative ½ (∂/∂re − i ∂/∂im), which exists for updates
    that are not holomorphic too.
    """
    leaves, tree = jax.tree.flatten(state)
    diagonals = []
    for place, leaf in enumerate(leaves):
        derivative, *imaginary = [of_leaf(place, direction) for direction in directions_of(leaf)]
        for d_imaginary in imaginary:
            derivative = (derivative - jnp.asarray(1j, leaf.dtype) * d_imaginary) / 2
        diagonals.append(derivative)
    return jax.tree.unflatten(tree, diagonals)
