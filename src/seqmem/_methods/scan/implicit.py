"""Derivatives of states that were found by any means: those of the recurrence that they solve."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._core.precision import split_inexact
from ..._core.problem import Problem, Solution, State
from .backward import Residuals, backward_loop, pull_back

LOOP = functools.partial(backward_loop, None)


def differentiate_along_recurrence(problem: Problem, states: State) -> State:
    """`states` after each step, with the derivatives that the recurrence gives them.

    Their gradient is the backward pass of `Scan`, whatever method found the states.
    """
    return _implicit(*split_inexact(problem), states)


@jax.custom_vjp
def _implicit(differentiable: PyTree, constant: PyTree, states: State) -> State:
    return states


def _implicit_forward(differentiable: PyTree, constant: PyTree, states: State):
    states = _implicit(differentiable, constant, states)  # the rule again, for second derivatives
    return states, Residuals(differentiable, constant, states, None)


def _implicit_backward(residuals: Residuals, d_states: State):
    d_final = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), residuals.states)
    d_problem = pull_back(residuals, _states_themselves, Solution(d_final, d_states), LOOP)
    return d_problem, None, None


def _states_themselves(cell, states, inputs, batch_axes):
    return states


_implicit.defvjp(_implicit_forward, _implicit_backward)
