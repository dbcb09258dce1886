"""One step of memory as a map of vectors: the state's inexact entries, flattened."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from .._core.cell import AbstractCell, project, update
from .._core.errors import bad_input
from .._core.precision import inexact, split
from .._core.problem import State


class StepMap(NamedTuple):
    """s_t = step(s_{t−1}, x_t), and the same as a function of v, the inexact entries of s."""

    size: int  # n, the entries of v
    step: Callable[[State, PyTree], State]
    flat: Callable[[State], Array]  # s ↦ v
    moved: Callable[[State, PyTree], Callable[[Array], Array]]  # (s, x) ↦ (v ↦ the next v)


def step_map(cell: AbstractCell) -> StepMap:
    """For a cell with real, inexact entries in its state."""
    init = jax.eval_shape(cell.init_state)
    moving = [leaf for leaf in jax.tree.leaves(init) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    if not moving or any(jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in moving):
        raise bad_input(
            f"a state {jax.tree.map(lambda leaf: str(leaf.dtype), init)}.",
            "a state with real floating point entries.",
            "a linear complex memory has the logarithms of its |a_t| for exponents.",
        )

    def step(state: State, x: PyTree) -> State:
        return update(cell, state, project(cell, x, state))

    def flat(state: State) -> Array:
        return ravel_pytree(inexact(state))[0]

    def moved(state: State, x: PyTree) -> Callable[[Array], Array]:
        moving, still = split(state)
        _, unflat = ravel_pytree(moving)
        return lambda v: flat(step(eqx.combine(unflat(v), still), x))

    return StepMap(sum(leaf.size for leaf in moving), step, flat, moved)
