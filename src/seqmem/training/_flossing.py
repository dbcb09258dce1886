"""Gradient flossing before and during training: updates by a loss besides that of the task."""

import dataclasses
import functools
from collections.abc import Callable, Container
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.optimiser import optimiser_step
from .._core.precision import split_inexact
from .._core.trees import tree_norm
from .._core.validation import check_count
from ._state import TrainingState


def floss_steps(
    loss: Callable[[PyTree, PRNGKeyArray], Float[Array, ""]],
    model: PyTree,
    optimiser: optax.GradientTransformation,
    *,
    steps: int,
    key: PRNGKeyArray,
) -> tuple[PyTree, Float[Array, " steps"]]:
    """Steps of gradient flossing, in one compiled program.

    Any loss of a model and a random key will do; it is meant for `gradients.floss` of the model's
    cells. A step whose loss or gradient is not finite changes nothing. The state of the
    optimiser is a new one.

    Args:
        loss: function (model, key) -> a number. It is compiled once for each function object.
        model: a tree whose inexact arrays are differentiated.
        optimiser: an optax optimiser, which includes clipping. One with weight decay also decays
            parameters that the loss does not depend on.
        steps: number of updates, >= 1.
        key: random key; each step gets one of its own.

    Returns:
        The model, and the loss before each update.

    Raises:
        ValueError: for steps below 1.

    Example:
        >>> import jax, optax, seqmem
        >>> from seqmem import gradients, training
        >>> cell = seqmem.RNN(2, 7, key=jax.random.key(0))
        >>> def loss(cell, key):
        ...     xs = jax.random.normal(key, (30, 2))
        ...     return gradients.floss(cell, None, xs, k=5, washout=10, key=key)
        >>> cell, losses = training.floss_steps(
        ...     loss, cell, optax.adam(0.01), steps=60, key=jax.random.key(1)
        ... )
        >>> bool(losses[-1] < losses[0] / 10)
        True
    """
    check_count("floss_steps", "steps", steps, remedy="choose a number, such as 100.")
    arrays, static = eqx.partition(model, eqx.is_array)
    leaves, treedef = jax.tree.flatten(static)
    arrays, losses = _run(loss, optimiser, steps, (tuple(leaves), treedef), arrays, key)
    return eqx.combine(arrays, static), losses


def with_flossing(
    step: Callable[..., tuple[TrainingState, dict[str, Array]]],
    loss: Callable[[PyTree, PRNGKeyArray], Float[Array, ""]],
    optimiser: optax.GradientTransformation,
    *,
    at: Container[int] = (0,),
    steps: int,
    key: PRNGKeyArray,
) -> Callable[..., tuple[TrainingState, dict[str, Array]]]:
    """A training step that flosses the model before the steps at some positions.

    It takes the place of `step` in any loop, also that of `experiment.train`: what it does depends
    on the training state alone, so a run that is resumed ends with the same bits. The position is
    read off the first state, and counted from there on while each call gets the state of the one
    before, so the device need not wait.

    Args:
        step: from `make_step`.
        loss: function (model, key) -> a number, as for `floss_steps`.
        optimiser: of flossing; its state is a new one at each position.
        at: the positions in training, counted from 0 and including skipped steps: (0,) flosses
            before training, range(0, 1000, 100) before it and every 100 steps of the first 1000.
        steps: updates at each position, >= 1.
        key: random key.

    Raises:
        ValueError: for steps below 1.

    Example:
        >>> import jax, optax, seqmem
        >>> from seqmem import gradients, training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return ((ys - 0.1) ** 2).sum(), ys.size, state
        >>> def floss(cell, key):
        ...     xs = jax.random.normal(key, (30, 3))
        ...     return gradients.floss(cell, None, xs, k=2, key=key)
        >>> gradient, adam = training.TruncatedBPTT(loss, window=7), optax.adam(0.01)
        >>> step = training.make_step(gradient, adam)
        >>> positions, key = range(0, 1000, 100), jax.random.key(0)
        >>> step = training.with_flossing(step, floss, adam, at=positions, steps=50, key=key)
    """
    check_count("with_flossing", "steps", steps, remedy="choose a number, such as 100.")
    # The counter of the last state that was returned, and that state's position: to read it off the
    # state would wait for the step to end.
    last: tuple[Array | None, int] = None, 0

    def flossing_step(
        state: TrainingState, *args: Any, **options: Any
    ) -> tuple[TrainingState, dict[str, Array]]:
        nonlocal last
        follows = state.steps is last[0]
        position = last[1] if follows else int(state.steps) + int(state.skipped)
        if position in at:
            position_key = jax.random.fold_in(key, position)
            model, _ = floss_steps(loss, state.model, optimiser, steps=steps, key=position_key)
            state = dataclasses.replace(state, model=model)
        state, metrics = step(state, *args, **options)
        last = state.steps, position + 1
        return state, metrics

    return flossing_step


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _run(
    loss: Callable,
    optimiser: optax.GradientTransformation,
    steps: int,
    static: tuple,
    arrays: PyTree,
    key: PRNGKeyArray,
) -> tuple[PyTree, Float[Array, " steps"]]:
    leaves, treedef = static
    model = eqx.combine(arrays, jax.tree.unflatten(treedef, leaves))
    params, constant = split_inexact(model)

    def step(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, Array]:
        params, opt_state = carry
        value, grads = jax.value_and_grad(lambda p: loss(eqx.combine(p, constant), key))(params)
        updated = optimiser_step(optimiser, grads, opt_state, params)
        is_finite = jnp.isfinite(value) & jnp.isfinite(tree_norm(grads))
        return jax.tree.map(lambda a, b: jnp.where(is_finite, b, a), carry, updated), value

    carry = params, optimiser.init(params)
    (params, _), losses = jax.lax.scan(step, carry, jax.random.split(key, steps))
    return eqx.filter(eqx.combine(params, constant), eqx.is_array), losses
