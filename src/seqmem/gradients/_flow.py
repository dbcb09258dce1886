"""The gradient of a loss with respect to every state, in the same pass as the model's."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.errors import bad_input
from .._core.perturbations import PerturbationRecorder, ZeroPerturbations
from .._core.precision import keep_inexact, split_inexact
from .._core.problem import State
from .._core.trees import tree_norm


class Flow(eqx.Module):
    """∂L/∂s_t for every step t of one unrolled cell.

    s_t is the whole state after step t; for a stack, the states of all its layers after that step.
    The effect of one layer's state on another within the same step is part of the step, and not in
    this gradient.

    Attributes:
        d_states: the gradients, in the tree of a state, each leaf [time, *batch, ...]; 0 at padded
            steps; None for leaves that are not differentiable, such as counters.
        leading_axes: the number of axes [time, *batch].
    """

    d_states: State
    leading_axes: int = eqx.field(static=True)

    def norms(self) -> PyTree[Float[Array, "time *batch"]]:
        """‖∂L/∂s_t‖ for each leaf of the state, in its tree."""
        return jax.tree.map(lambda leaf: tree_norm(leaf, self.leading_axes), self.d_states)

    def norm(self) -> Float[Array, "time *batch"]:
        """‖∂L/∂s_t‖ over the whole state; not finite where a gradient is not finite."""
        return tree_norm(self.d_states, self.leading_axes)


def value_grad_and_flow(loss: Callable, *, has_aux: bool = False) -> Callable:
    """The value of a loss, its gradient, and its gradient with respect to every state.

        L = loss(model, ..., perturbations=perturbations),    ∂L/∂θ,    ∂L/∂s_t for t = 1 … T

    in one backward pass: perturbations of 0 are added to the states, and their gradients are
    ∂L/∂s_t. It works in a jitted training step, with lengths, resets, batch axes, stacks and
    `remat_every`.

    Args:
        loss: a function of a model and further arguments. It passes its keyword argument
            `perturbations` to one `seqmem.unroll`, or `perturbations["name"]` to each of several.
            It is traced a second time, for the shapes of the states.
        has_aux: whether the loss returns (value, aux).

    Returns:
        A function of the same arguments without `perturbations` that returns (value, gradient,
        flow), or ((value, aux), gradient, flow). The gradient has the tree of the model, with None
        for leaves that are not inexact arrays. The flow is a `Flow`, or a dict of them by name.

    Raises:
        ValueError: where the loss is not a scalar, or where no unroll or two unrolls get the same
            perturbations.

    Example:
        >>> import jax, seqmem
        >>> def loss(cell, xs, perturbations):
        ...     state, ys = seqmem.unroll(cell, None, xs, perturbations=perturbations)
        ...     return (ys[-1] ** 2).sum()
        >>> cell, xs = seqmem.LSTM(3, 5, key=jax.random.key(0)), jax.numpy.ones((7, 3))
        >>> value, grads, flow = seqmem.gradients.value_grad_and_flow(loss)(cell, xs)
        >>> flow.norm().shape, flow.norms().c.shape
        ((7,), (7,))
    """

    def value_grad_and_flow_of(model: PyTree, *args: Any, **options: Any) -> tuple:
        differentiable, constant = split_inexact(model)

        def call(differentiable: PyTree, perturbations: PyTree) -> Any:
            model = eqx.combine(differentiable, constant)
            return loss(model, *args, perturbations=perturbations, **options)

        recorder = PerturbationRecorder()
        result = jax.eval_shape(call, differentiable, recorder)
        _check_scalar(result[0] if has_aux else result)
        zeros, counters = split_inexact(recorder.map(_zero_perturbations))

        def call_perturbed(differentiable: PyTree, zeros: PyTree) -> Any:
            return call(differentiable, eqx.combine(zeros, counters))

        gradient = jax.value_and_grad(call_perturbed, argnums=(0, 1), has_aux=has_aux)
        value, (grads, d_perturbations) = gradient(differentiable, zeros)
        leading_axes = recorder.map(lambda _, leading_axes: leading_axes)
        flow = jax.tree.map(
            lambda axes, d: Flow(keep_inexact(d.values), axes), leading_axes, d_perturbations
        )
        return value, grads, flow

    return value_grad_and_flow_of


def _zero_perturbations(shapes: State, leading_axes: int) -> ZeroPerturbations:
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return ZeroPerturbations(zeros)


def _check_scalar(value: Any) -> None:
    """Refuse the shape of a loss that is not one real number."""
    if getattr(value, "shape", None) != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise bad_input(
            f"the loss is {value}.",
            "one real number, with shape ().",
            "take its mean or its sum; return other results with has_aux=True.",
        )
