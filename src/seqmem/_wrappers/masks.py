"""Dropout masks."""

import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.batching import PerExample


def dropout_mask(
    key: PRNGKeyArray, rate: float, shape: tuple[int, ...], dtype: jax.typing.DTypeLike
) -> Float[Array, "..."]:
    """0 for the entries that are dropped, a share `rate`; 1/(1 − rate) for the others, so that the
    mean stays.
    """
    return jax.random.bernoulli(key, 1 - rate, shape).astype(dtype) / (1 - rate)


def per_example(masks: PyTree, batch_shape: tuple[int, ...]) -> PyTree | PerExample:
    """Masks with the batch axes in front as those of each example; bare without batch axes."""
    return PerExample(masks) if batch_shape else masks
