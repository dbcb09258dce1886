"""One step of memory with its flags: the definition that every method must reproduce."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .cell import AbstractCell, update
from .perturbations import perturbation_values
from .problem import Drive, State, StepFlags


def advance(cell: AbstractCell, init: State, state: State, drive: Drive, flags: StepFlags) -> State:
    """The next state of one example, flags included."""
    new = update(cell, apply_reset(init, state, flags), drive)
    return apply_padding(state, new, flags)


def apply_reset(init: State, state: State, flags: StepFlags) -> State:
    """The state that a step starts from."""
    return select(flags.reset, init, state)


def apply_padding(state: State, new: State, flags: StepFlags) -> State:
    """The state that a step ends with, from the state before it and the updated one."""
    if flags.perturbation is not None:
        new = jax.tree.map(jnp.add, new, perturbation_values(flags.perturbation))
    return select(flags.padding, state, new)


def select(flag: Array | None, if_true: PyTree, if_false: PyTree) -> PyTree:
    """One tree or the other, by selection and never by a product: 0 · NaN is NaN."""
    if flag is None:
        return if_false
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), if_true, if_false)
