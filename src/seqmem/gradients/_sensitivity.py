"""How much a change of the parameters changes later predictions: forward-mode derivatives."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.precision import keep_inexact, split_inexact
from .._core.trees import tree_norm
from .._methods.scan.reference import ReferenceScan


def random_direction(key: PRNGKeyArray, tree: PyTree) -> PyTree:
    """A direction of norm 1 in the space of all inexact arrays of `tree`, uniformly distributed.

    Args:
        key: random key.
        tree: the model.
    """
    leaves, structure = jax.tree.flatten(keep_inexact(tree))
    keys = jax.random.split(key, len(leaves))
    draws = [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)]
    norm = tree_norm(draws)
    return structure.unflatten([draw / norm.astype(draw.dtype) for draw in draws])


def sensitivity(predict: Callable, *, leading: int = 1) -> Callable:
    """How much each prediction changes per unit of change of the parameters.

        ‖∂ŷ_k/∂ε‖ at ε = 0, for every step k,    ŷ = predict(model + ε · direction, ...)

    Args:
        predict: a function of a model and further arguments that returns predictions, time first.
            It passes its keyword argument `method` to `seqmem.unroll`.
        leading: the number of leading axes of the predictions that the norm does not sum over: 1
            is [time], 2 is [time, batch].

    Returns:
        A function (model, direction, ...) that returns the norms. The direction has the tree of
        the model's inexact arrays, like a gradient or a `random_direction`.

    Example:
        >>> import jax, seqmem
        >>> def predict(cell, xs, method):
        ...     return seqmem.unroll(cell, None, xs, method=method)[1]
        >>> cell, xs = seqmem.GRU(3, 5, key=jax.random.key(0)), jax.numpy.ones((7, 3))
        >>> direction = seqmem.gradients.random_direction(jax.random.key(1), cell)
        >>> seqmem.gradients.sensitivity(predict)(cell, direction, xs).shape
        (7,)
    """

    def norms(
        model: PyTree, direction: PyTree, *args: Any, **options: Any
    ) -> Float[Array, "time ..."]:
        differentiable, constant = split_inexact(model)

        def predictions(differentiable: PyTree) -> Array:
            model = eqx.combine(differentiable, constant)
            return predict(model, *args, method=ReferenceScan(), **options)

        tangent = jax.tree.map(jnp.asarray, direction)
        return tree_norm(jax.jvp(predictions, (differentiable,), (tangent,))[1], leading)

    return norms
