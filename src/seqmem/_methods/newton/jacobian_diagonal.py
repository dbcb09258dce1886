"""The diagonal of a step's Jacobian, ∂s'ᵢ/∂sᵢ, for methods that get on with an approximation."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.cell import AbstractCell, Drive, State, update

Diagonal = Callable[[State, Drive], State]


@functools.singledispatch
def jacobian_diagonal(cell: AbstractCell, init: State, x: PyTree) -> Diagonal:
    """(s, u) ↦ diag ∂update(s, u)/∂s, for one example, in the shapes of the state.

    By one derivative per entry of the state; a family that has it cheaper registers how. `init` is
    `cell.init_state()` and `x` some input, for what a family computes once.
    """

    def diagonal(state: State, drive: Drive) -> State:
        def step(state: State) -> State:
            return update(cell, state, drive)

        def of_leaf(place: int, direction: complex) -> Array:
            leaf = jax.tree.leaves(state)[place]

            def entry(i: Array) -> Array:
                one = jnp.zeros(leaf.size, leaf.dtype).at[i].set(jnp.asarray(direction, leaf.dtype))
                moved = jax.jvp(step, (state,), (only(state, place, one.reshape(leaf.shape)),))[1]
                return jax.tree.leaves(moved)[place].ravel()[i]

            return jax.lax.map(entry, jnp.arange(leaf.size)).reshape(leaf.shape)

        return by_leaf(state, of_leaf)

    return diagonal


def only(state: State, place: int, tangent: Array) -> State:
    """A tangent of the state that moves one of its leaves alone."""
    leaves, tree = jax.tree.flatten(state)
    tangents = [jnp.zeros_like(leaf) for leaf in leaves]
    tangents[place] = tangent
    return jax.tree.unflatten(tree, tangents)


def directions(leaf: Array) -> tuple[complex, ...]:
    """Those in which an entry of a leaf can move."""
    return (1.0, 1j) if jnp.iscomplexobj(leaf) else (1.0,)


def by_leaf(state: State, of_leaf: Callable[[int, complex], Array]) -> State:
    """The diagonals of all leaves, from `of_leaf(place, direction)`: how fast the entries of a leaf
    change when they move in that direction themselves.

    Of complex ones, Wirtinger's derivative ½ (∂/∂re − i ∂/∂im), which is there for updates that
    are not holomorphic too.
    """
    leaves, tree = jax.tree.flatten(state)
    found = []
    for place, leaf in enumerate(leaves):
        real, *imaginary = [of_leaf(place, direction) for direction in directions(leaf)]
        for along in imaginary:
            real = (real - jnp.asarray(1j, leaf.dtype) * along) / 2
        found.append(real)
    return jax.tree.unflatten(tree, found)
