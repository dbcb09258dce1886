"""How far the gradient of truncated backpropagation through time is from the full gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.precision import keep_inexact, split_inexact
from .._core.trees import tree_norm
from .._methods.scan.gradient_transforms import Detach
from .._methods.scan.scan import Scan


class Bias(NamedTuple):
    """How far a truncated gradient g' is from the full gradient g.

    Attributes:
        relative: ‖g' − g‖ / ‖g‖.
        cosine: ⟨g', g⟩ / (‖g'‖ ‖g‖).
    """

    relative: Float[Array, ""]
    cosine: Float[Array, ""]


def truncation_bias(loss: Callable, window: int) -> Callable:
    """The bias of the gradient of truncated backpropagation with a carried state.

    The gradient is cut every `window` steps (`Detach`), as in training on consecutive windows of
    that length. The value of the loss does not change.

    Args:
        loss: a function of a model and further arguments. It passes its keyword argument `method`
            to `seqmem.unroll`.
        window: in steps, >= 1. A window of at least the time has no bias.

    Returns:
        A function of the same arguments without `method` that returns a `Bias`.

    Raises:
        ValueError: for a window below 1.

    Example:
        >>> import jax, seqmem
        >>> def loss(cell, xs, method):
        ...     return (seqmem.unroll(cell, None, xs, method=method)[1][-1] ** 2).sum()
        >>> cell, xs = seqmem.GRU(3, 5, key=jax.random.key(0)), jax.numpy.ones((8, 3))
        >>> float(seqmem.gradients.truncation_bias(loss, 8)(cell, xs).relative)
        0.0
    """
    full, truncated = gradient_with(loss, Scan()), gradient_with(loss, truncated_method(window))

    def bias(model: PyTree, *args: Any, **options: Any) -> Bias:
        return bias_between(truncated(model, *args, **options), full(model, *args, **options))

    return bias


def truncated_method(window: int) -> Scan:
    """The method whose gradient is cut every `window` steps."""
    return Scan(transform=Detach(window))


def gradient_with(loss: Callable, method: Scan) -> Callable:
    """The gradient of a loss that takes `method`, with respect to the model's inexact arrays."""

    def gradient(model: PyTree, *args: Any, **options: Any) -> PyTree:
        differentiable, constant = split_inexact(model)

        def call(differentiable: PyTree) -> Any:
            return loss(eqx.combine(differentiable, constant), *args, method=method, **options)

        return jax.grad(call)(differentiable)

    return gradient


def bias_between(truncated: PyTree, full: PyTree) -> Bias:
    """The `Bias` of a truncated gradient, over all leaves."""
    difference = tree_norm(jax.tree.map(jnp.subtract, keep_inexact(truncated), keep_inexact(full)))
    truncated_norm, full_norm = tree_norm(truncated), tree_norm(full)

    def cosine_part(d_truncated: Array, d_full: Array) -> Array:
        dtype = d_full.dtype
        return jnp.vdot(
            d_truncated / truncated_norm.astype(dtype), d_full / full_norm.astype(dtype)
        )

    parts = jax.tree.leaves(jax.tree.map(cosine_part, truncated, full))
    return Bias(difference / full_norm, sum(parts, jnp.zeros_like(difference)))
