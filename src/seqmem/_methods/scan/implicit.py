"""Derivatives of states that were found by any means: those of the recurrence that they solve."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._core.precision import split_inexact
from ..._core.problem import Problem, Solution, State
from .backward import Residuals, backward_loop, pull_back


class Adjoint(NamedTuple):
    """How the backward pass runs over the steps.

    Attributes:
        loop: with the arguments and results of `backward_loop` after its first.
        tile_size: steps per tile; None chooses from the sizes.
    """

    loop: Callable = functools.partial(backward_loop, None)
    tile_size: int | None = None


STEP_BY_STEP = Adjoint()


def differentiate_along_recurrence(
    problem: Problem, states: State, adjoint: Adjoint = STEP_BY_STEP
) -> State:
    """`states` after each step, with the derivatives that the recurrence gives them.

    Their gradient is the backward pass of `Scan`, whatever method found the states.
    """
    return _implicit(adjoint, *split_inexact(problem), states)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _implicit(adjoint: Adjoint, differentiable: PyTree, constant: PyTree, states: State) -> State:
    return states


def _implicit_forward(adjoint: Adjoint, differentiable: PyTree, constant: PyTree, states: State):
    # the rule again, for second derivatives
    states = _implicit(adjoint, differentiable, constant, states)
    return states, Residuals(differentiable, constant, states, None)


def _implicit_backward(adjoint: Adjoint, residuals: Residuals, d_states: State):
    d_final = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), residuals.states)
    d_solution = Solution(d_final, d_states)
    d_problem = pull_back(residuals, _states_themselves, d_solution, *adjoint)
    return d_problem, None, None


def _states_themselves(cell, states, inputs, batch_axes):
    return states


_implicit.defvjp(_implicit_forward, _implicit_backward)
