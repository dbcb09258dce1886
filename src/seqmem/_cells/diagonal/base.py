"""The diagonal family: the state moves linearly, each entry on its own.

    s_t = a_t ∘ s_{t−1} + b_t    where a_t and b_t depend on the input alone

`update` says so in its own words; a and b are read off it by one `jax.jvp`.
"""

import jax
import jax.numpy as jnp

from ..._core.cell import AbstractCell, Drive, State, update
from ..._core.arguments import check_family
from ..._core.errors import bad_input


class AbstractDiagonalCell(AbstractCell):
    """A cell with the promise that `update(s, u)` is a ∘ s + b with a and b functions of u.

    It is affine over the complex numbers where the state is complex (no conjugate, real part,
    imaginary part or absolute value of the state), and every leaf of the state is inexact. The
    promise lets `Parallel` compute all states at once.
    """


def affine_map(cell: AbstractDiagonalCell, drive: Drive, like: State) -> tuple[State, State]:
    """(a, b) with update(s, drive) = a ∘ s + b, for a state of the shapes of `like`."""
    zeros, ones = jax.tree.map(jnp.zeros_like, like), jax.tree.map(jnp.ones_like, like)
    b, a = jax.jvp(lambda state: update(cell, state, drive), (zeros,), (ones,))
    return a, b


@check_family.register
def _(cell: AbstractDiagonalCell, init: State) -> None:
    for path, leaf in jax.tree.leaves_with_path(init):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise bad_input(
                f"the state{jax.tree_util.keystr(path)} of {type(cell).__name__}, a diagonal cell, "
                f"is {leaf.dtype}.",
                "real or complex numbers: the state moves by s ↦ a ∘ s + b.",
                "count in floating point, or make the cell an AbstractCell, which may hold "
                "integers.",
            )
