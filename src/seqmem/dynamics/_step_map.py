"""One step of a cell as a map of vectors, v_t = f(v_{t−1}), for Jacobians and exponents."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from .._core.cell import AbstractCell, project, update
from .._core.errors import bad_input
from .._core.precision import keep_inexact, split_inexact
from .._core.problem import State


@dataclasses.dataclass(frozen=True)
class StepMap:
    """One step of a cell, and the same as a map of v, the floating point entries of the state.

    Other entries, such as counters, are advanced by `step` and are constants of the map.

    Attributes:
        cell: the cell.
        size: n, the number of entries of v.
    """

    cell: AbstractCell
    size: int

    @classmethod
    def of(cls, cell: AbstractCell) -> "StepMap":
        """The step of a cell whose state has real floating point entries.

        Raises:
            ValueError: where the state is complex, or has no floating point entry.
        """
        init = jax.eval_shape(cell.init_state)
        leaves = [leaf for leaf in jax.tree.leaves(init) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        is_complex = any(jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in leaves)
        if not leaves or is_complex:
            raise bad_input(
                f"{type(cell).__name__} has a state of {jax.tree.map(_dtype_name, init)}.",
                "a state with real floating point entries.",
                "of a linear complex memory, take ln |a_t|: these are its exponents.",
            )
        return cls(cell, sum(leaf.size for leaf in leaves))

    def step(self, state: State, x: PyTree) -> State:
        """The next state."""
        return update(self.cell, state, project(self.cell, x, state))

    def vector(self, state: State) -> Float[Array, " n"]:
        """v, in the order of `jax.flatten_util.ravel_pytree`."""
        return ravel_pytree(keep_inexact(state))[0]

    def map_at(self, state: State, x: PyTree) -> Callable[[Array], Array]:
        """v_{t−1} ↦ v_t for one input, the other entries of the state held constant."""
        differentiable, constant = split_inexact(state)
        _, unravel = ravel_pytree(differentiable)
        return lambda v: self.vector(self.step(eqx.combine(unravel(v), constant), x))


def _dtype_name(leaf: jax.ShapeDtypeStruct) -> str:
    return str(leaf.dtype)
