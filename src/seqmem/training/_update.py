"""The update of a training state by a gradient, skipped where it is not finite."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, PyTree

from .._core.optimiser import optimiser_step
from .._core.precision import keep_inexact, split_inexact
from .._core.trees import tree_norm
from ._gradient import AbstractGradient, Gradient
from ._state import TrainingState


def update(
    state: TrainingState,
    result: Gradient,
    gradient: AbstractGradient,
    optimiser: optax.GradientTransformation,
) -> tuple[TrainingState, dict[str, Array]]:
    """The next training state and the metrics of the step.

    `optax.apply_if_finite` is narrower: it protects the parameters from a gradient that is not
    finite, but neither the carry nor the optimiser's moments, which can overflow by themselves.

    Args:
        state: the training state before the step.
        result: the gradient of the step.
        gradient: the method that computed it.
        optimiser: the optimiser.
    """
    loss, grads = result.value, result.mean_grads
    gradient_norm = tree_norm(grads)
    params, static = split_inexact(state.model)
    params, opt_state = optimiser_step(optimiser, grads, state.opt_state, params)
    old = state.model, state.opt_state, state.carry
    new = eqx.combine(params, static), opt_state, result.carry

    is_finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)
    is_finite &= _stays_finite(old[:2], new[:2])
    is_finite &= _stays_finite(gradient.state(state.carry), gradient.state(result.carry))
    model, opt_state, carry = jax.tree.map(
        lambda a, b: jnp.where(is_finite, b, a) if eqx.is_array(a) else a, old, new
    )
    skipped = (~is_finite).astype(jnp.int32)
    metrics = {
        "loss": loss,
        "weight": result.weight,
        "gradient_norm": gradient_norm,
        "skipped": skipped,
    }
    steps, all_skipped = state.steps + 1 - skipped, state.skipped + skipped
    return TrainingState(model, opt_state, carry, steps, all_skipped), metrics


def _stays_finite(old: PyTree, new: PyTree) -> Bool[Array, ""]:
    """Whether every finite number of the old tree is finite in the new one."""
    is_broken = jax.tree.map(
        lambda a, b: (jnp.isfinite(a) & ~jnp.isfinite(b)).any(),
        keep_inexact(old),
        keep_inexact(new),
    )
    return ~functools.reduce(jnp.logical_or, jax.tree.leaves(is_broken), jnp.zeros((), bool))
