"""Masks of dropout."""

import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.errors import bad_input
from .._core.batching import PerExample


def check_rate(name: str, rate: float) -> None:
    """Refuse a share that is none.

    Raises:
        ValueError: unless 0 <= rate < 1.
    """
    if not 0 <= rate < 1:
        raise bad_input(
            f"{name} got rate={rate}.",
            "the share to leave out, 0 <= rate < 1.",
            "leave the call out where nothing is to be dropped.",
        )


def kept_entries(
    key: PRNGKeyArray, rate: float, shape: tuple[int, ...], dtype: jax.typing.DTypeLike
) -> Float[Array, "..."]:
    """0 for the entries that are left out, a share `rate`; 1/(1 − rate) for the others, so that
    the mean stays.
    """
    return jax.random.bernoulli(key, 1 - rate, shape).astype(dtype) / (1 - rate)


def of_examples(masks: PyTree, batch_shape: tuple[int, ...]) -> PyTree | PerExample:
    """Masks with the batch axes in front, each example with its own; bare where there are none."""
    return PerExample(masks) if batch_shape else masks
