"""Pascanu's penalty on how much a step changes the norm of the gradient."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.batching import vmap_batch
from .._core.cell import AbstractCell, project, update
from .._core.precision import keep_inexact
from .._core.problem import State
from .._core.trees import tree_norm
from .._methods.scan.vjp_rules import pull_to
from ..dynamics._trajectory import states_before
from ._flow import Flow


def norm_penalty(
    cell: AbstractCell, state: State | None, xs: PyTree, flow: Flow, **options
) -> Float[Array, ""]:
    """Pascanu's Ω: how much each step of backpropagation changes the norm of the gradient.

        Ω = Σ_t (‖(∂s_t/∂s_{t−1})ᵀ δ_t‖ / ‖δ_t‖ − 1)²,    δ_t = ∂L/∂s_t

    It is the mean over the batch. Steps with δ_t = 0 contribute 0. Its gradient holds the states
    and δ constant, as in the paper, and so costs no second pass through time. To use it, add a
    multiple of the gradient of Ω to the gradient of the loss.

    Source: Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, section 3.3, equations 9 and 10.
    Differs: none.

    Args:
        cell: the cell; differentiate with respect to it.
        state: the state that the run started from; None is `cell.init_state()`.
        xs: the inputs of the run.
        flow: the flow of the run, from `value_grad_and_flow`.
        options: `lengths`, `mask`, `resets` and `reverse` of the run.
    """
    before = jax.lax.stop_gradient(states_before(cell, state, xs, **options))
    d_states = jax.lax.stop_gradient(flow.d_states)

    def penalty(cell: AbstractCell, state: State, x: PyTree, d_state: State) -> Array:
        def step(state: State) -> State:
            return keep_inexact(update(cell, state, project(cell, x, state)))

        norm = tree_norm(d_state)
        is_positive = norm > 0
        norm_before = tree_norm(keep_inexact(pull_to(step, d_state, state)[0]))
        ratio = norm_before / jnp.where(is_positive, norm, 1.0)
        return jnp.where(is_positive, jnp.square(ratio - 1), 0.0)

    batch_axes = flow.leading_axes - 1
    penalties = vmap_batch(penalty, cell, batch_axes, time=True)(before, xs, d_states)
    return penalties.sum(0).mean()
