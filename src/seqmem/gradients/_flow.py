"""The gradient of a loss with respect to every state, in the same pass as that of the model."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .._core.errors import bad_input
from .._core.perturbations import PerturbationRecorder, ZeroPerturbations
from .._core.precision import inexact, split
from .._core.problem import State
from .._core.trees import tree_norm


class Flow(eqx.Module):
    """∂L/∂s_t for every step t of one unrolled cell.

    s_t is the whole state after step t: of a stack, the states of all its layers after that step.
    What one layer's state does to another within the same step is before it, not after.

    Attributes:
        d: the gradients, in the tree of a state, each leaf [time, *batch, ...]; 0 at padded steps;
            None for leaves that are not differentiable, such as counters.
    """

    d: State
    leading: int = eqx.field(static=True)

    def norms(self) -> PyTree[Float[Array, "time *batch"]]:
        """‖∂L/∂s_t‖ for every leaf of the state alone, in its tree."""
        return jax.tree.map(lambda leaf: tree_norm(leaf, self.leading), self.d)

    def norm(self) -> Float[Array, "time *batch"]:
        """‖∂L/∂s_t‖ over the whole state. Where a gradient is not finite, neither is its norm."""
        return tree_norm(self.d, self.leading)


def value_grad_and_flow(loss: Callable, *, has_aux: bool = False) -> Callable:
    """The value of a loss, its gradient, and the gradient with respect to every state on the way.

        L = loss(model, ..., perturbations=perturbations),    ∂L/∂θ,    ∂L/∂s_t for t = 1 … T

    in one backward pass: zeros are added to the states, and their gradients are the second. Works
    in a jitted training step, with lengths, resets, batch axes, stacks and chunks.

    Args:
        loss: a function of a model and anything else, which hands its keyword argument `perturbations` to
            one `seqmem.unroll`, or `perturbations["name"]` to each of several. It is traced once more, to
            learn the shapes.
        has_aux: whether it returns (value, anything else).

    Returns:
        A function of the same arguments but `perturbations`, that returns (value, gradient, flow). The
        value is (value, aux) with `has_aux`. The gradient is that with respect to the inexact
        arrays of the model, None elsewhere. The flow is a `Flow`, or a dict of them by name.

    Raises:
        ValueError: where the loss is no scalar, or `perturbations` reach no unroll or two.

    Example:
        >>> import jax, seqmem
        >>> def loss(cell, xs, perturbations):
        ...     state, ys = seqmem.unroll(cell, cell.init_state(), xs, perturbations=perturbations)
        ...     return (ys[-1] ** 2).sum()
        >>> cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
        >>> value, grads, flow = seqmem.gradients.value_grad_and_flow(loss)(cell, jax.numpy.ones((7, 3)))
        >>> flow.norm().shape, flow.norms().c.shape
        ((7,), (7,))
    """

    def differentiated(model: PyTree, *args: Any, **options: Any) -> tuple[Any, PyTree, PyTree]:
        moving, still = split(model)

        def call(moving: PyTree, perturbations: PyTree) -> Any:
            return loss(eqx.combine(moving, still), *args, perturbations=perturbations, **options)

        recorder = PerturbationRecorder()
        shape = jax.eval_shape(call, moving, recorder)
        shape = shape[0] if has_aux else shape
        if getattr(shape, "shape", None) != () or not jnp.issubdtype(shape.dtype, jnp.floating):
            raise bad_input(
                f"the loss is {shape}.",
                "one real number, with shape ().",
                "take its mean or its sum; other results are returned with has_aux=True.",
            )
        perturbations, counters = split(
            recorder.map(lambda shapes, _: ZeroPerturbations(_zeros(shapes)))
        )
        value, (grads, d) = jax.value_and_grad(
            lambda moving, perturbations: call(moving, eqx.combine(perturbations, counters)),
            argnums=(0, 1),
            has_aux=has_aux,
        )(moving, perturbations)
        leading = recorder.map(lambda _, leading: leading)
        flow = jax.tree.map(lambda leading, d: Flow(inexact(d.values), leading), leading, d)
        return value, grads, flow

    return differentiated


def _zeros(shapes: State) -> State:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def by_lag(
    curve: Float[Array, "time *batch"], lengths: Int[Array, "*batch"] | None = None
) -> Float[Array, "time *batch"]:
    """A curve over time counted back from the last step: entry k belongs to t = T − k, where T is
    the length of each sequence; 0 before its first step.

    Example:
        >>> import jax.numpy as jnp, seqmem
        >>> curve = jnp.array([[1.0, 1.0], [2.0, 2.0], [3.0, 0.0]])
        >>> seqmem.gradients.by_lag(curve, jnp.array([3, 2])).T.tolist()
        [[3.0, 2.0, 1.0], [2.0, 1.0, 0.0]]
    """
    time = len(curve)
    if lengths is None:
        return curve[::-1]
    lags = jnp.arange(time).reshape(-1, *[1] * (curve.ndim - 1))
    at = jnp.clip(lengths, 0, time) - 1 - lags
    picked = jnp.take_along_axis(curve, jnp.maximum(at, 0), 0)
    return jnp.where(at >= 0, picked, jnp.zeros_like(picked))
