"""Dropout masks."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.batching import PerExample
from .._core.errors import bad_input


def dropout_mask(
    key: PRNGKeyArray, rate: float, shape: tuple[int, ...], dtype: jax.typing.DTypeLike
) -> Float[Array, "..."]:
    """0 with probability `rate`, else 1/(1 − rate): a product with the mask has the same mean."""
    return jax.random.bernoulli(key, 1 - rate, shape).astype(dtype) / (1 - rate)


def per_example(masks: PyTree, batch_shape: tuple[int, ...]) -> PyTree | PerExample:
    """Masks [*batch, ...] as one mask for each example; unchanged without batch axes."""
    return PerExample(masks) if batch_shape else masks


def apply_mask(mask: PyTree, tree: PyTree) -> PyTree:
    """The product of each leaf with its mask, which takes no gradient.

    Raises:
        ValueError: where the shapes differ, as when the mask was drawn for another batch.
    """
    mask_shapes, shapes = (jax.tree.map(jnp.shape, part) for part in (mask, tree))
    if mask_shapes != shapes:
        raise bad_input(
            f"a dropout mask of shape {mask_shapes} for entries of shape {shapes}.",
            "a mask for each example of the batch.",
            "draw the masks with the batch axes of xs as batch_shape.",
        )
    return jax.tree.map(jnp.multiply, jax.lax.stop_gradient(mask), tree)
