"""The equation behind a declared structure of the Jacobian."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._core.cell import AbstractCell, update
from .._core.problem import State
from .._methods.newton.jacobians import declared_jacobian


def jacobian_equations(cell: AbstractCell, draws: Any) -> Iterator[tuple[str, PyTree, PyTree]]:
    """J v of the declared structure is the derivative of the update along v, for a random v."""
    structure = declared_jacobian(cell)
    if structure is None:
        return
    state, v = jax.tree.map(jnp.asarray, (draws.random_state(1.0), draws.random_state(1.0)))
    drive = draws.drive()

    def step(state: State) -> State:
        return update(cell, state, drive)

    _, jacobian = structure.linearise(step, state)
    # δ_1 = v and δ_2 = J v + 0, since a structure knows how to solve and not how to multiply
    jacobians = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), jacobian)
    residuals = jax.tree.map(lambda leaf: jnp.stack([leaf, jnp.zeros_like(leaf)]), v)
    solution = structure.solve(jacobians, residuals, None, reverse=False)
    yield (
        f"that ∂update/∂state is a {type(structure).__name__}",
        jax.tree.map(lambda leaf: leaf[1], solution),
        jax.jvp(step, (state,), (v,))[1],
    )
