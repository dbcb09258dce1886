"""Dropout masks."""

import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.batching import PerExample


def dropout_mask(
    key: PRNGKeyArray, rate: float, shape: tuple[int, ...], dtype: jax.typing.DTypeLike
) -> Float[Array, "..."]:
    """0 with probability `rate`, else 1/(1 − rate): a product with the mask has the same mean."""
    return jax.random.bernoulli(key, 1 - rate, shape).astype(dtype) / (1 - rate)


def per_example(masks: PyTree, batch_shape: tuple[int, ...]) -> PyTree | PerExample:
    """Masks [*batch, ...] as one mask for each example; unchanged without batch axes."""
    return PerExample(masks) if batch_shape else masks
