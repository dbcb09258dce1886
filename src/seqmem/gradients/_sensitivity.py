"""What a change of the weights does to what is shown later: forward mode."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.precision import inexact, split
from .._core.trees import tree_norm


def random_direction(key: PRNGKeyArray, tree: PyTree) -> PyTree:
    """A change of all inexact arrays of `tree`, of norm 1, all directions being equally likely."""
    leaves, structure = jax.tree.flatten(inexact(tree))
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)]
    norm = tree_norm(drawn)
    return structure.unflatten([leaf / norm.astype(leaf.dtype) for leaf in drawn])


def sensitivity(predict: Callable, *, leading: int = 1) -> Callable:
    """How much each prediction changes per unit change of the weights.

        ‖∂ŷ_k/∂ε‖ at ε = 0, for every step k,    ŷ = predict(model + ε · direction, ...)

    Args:
        predict: a function of a model and anything else that returns predictions, time first; it
            hands its keyword argument `method` to `seqmem.unroll`.
        leading: how many leading axes of the predictions are kept: 1 is time alone, 2 [time,
            batch].

    Returns:
        A function (model, direction, ...) of the norms; the direction has the tree of the model's
        inexact arrays, as `random_direction` and a gradient have.

    Example:
        >>> import jax, seqmem
        >>> def predict(cell, xs, method):
        ...     return seqmem.unroll(cell, cell.init_state(), xs, method=method)[1]
        >>> cell, xs = seqmem.GRU(3, 5, key=jax.random.key(0)), jax.numpy.ones((7, 3))
        >>> direction = seqmem.gradients.random_direction(jax.random.key(1), cell)
        >>> seqmem.gradients.sensitivity(predict)(cell, direction, xs).shape
        (7,)
    """

    def changes(
        model: PyTree, direction: PyTree, *args: Any, **options: Any
    ) -> Float[Array, "time ..."]:
        moving, still = split(model)

        def moved(moving: PyTree) -> Array:
            method = ReferenceScan()
            return predict(eqx.combine(moving, still), *args, method=method, **options)

        _, change = jax.jvp(moved, (moving,), (jax.tree.map(jnp.asarray, direction),))
        return tree_norm(change, leading)

    return changes
