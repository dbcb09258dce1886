"""Checks of token ids."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Int

from .._core.errors import bad_input


def as_token_ids(
    owner: str,
    name: str,
    ids: Any,
    vocabulary_size: int,
    *,
    valid: Bool[Array | np.ndarray, "..."] | None = None,
) -> Int[Array, "..."]:
    """Token ids as an array.

    Args:
        owner: the function that got them.
        name: the argument.
        ids: its value.
        vocabulary_size: how many tokens there are.
        valid: which ids are read; None is all. Where it or the ids are traced, the range is not
            checked.

    Raises:
        ValueError: for ids that are no integers, or that are outside of the vocabulary.
    """
    dtype = np.asarray(ids).dtype if isinstance(ids, list | tuple) else jnp.result_type(ids)
    if not jnp.issubdtype(dtype, jnp.integer):
        raise bad_input(
            f"{owner} got {name} of dtype {dtype}.",
            "token ids, which are integers.",
            "encode the text with its vocabulary first.",
        )
    if not isinstance(ids, Tracer) and not isinstance(valid, Tracer):
        values = np.asarray(ids)
        values = values if valid is None else values[np.asarray(valid)]
        if values.size and (values.min() < 0 or values.max() >= vocabulary_size):
            raise bad_input(
                f"{owner} got {name} between {values.min()} and {values.max()}.",
                f"ids of the model's vocabulary, 0 <= id < {vocabulary_size}.",
                "encode the text with the vocabulary that the model was made for.",
            )
    return as_wide_ids(ids)


def as_wide_ids(ids: Any) -> Int[Array, "..."]:
    """Token ids as an array of at least 32 bits: 256, a vocabulary of bytes, is 0 in uint8."""
    ids = jnp.asarray(ids)
    return ids.astype(jnp.int32) if ids.dtype.itemsize < 4 else ids
