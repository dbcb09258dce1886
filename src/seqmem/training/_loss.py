"""The loss functions of this package, (model, state, batch) -> (total, weight, state)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.errors import bad_input
from .._core.problem import State


def check_loss(result: Any) -> tuple[Float[Array, ""], Float[Array, ""], State]:
    """The (total, weight, state) that a loss function returned, the weight in the total's dtype.

    Raises:
        ValueError: for another result.
    """
    if not isinstance(result, tuple) or len(result) != 3:
        raise bad_input(
            f"the loss returned {_describe(result)}.",
            "a tuple (total, weight, state).",
            "return the sum of the loss, the number of summed terms, and the final state.",
        )
    total, weight, state = result
    dtype = getattr(total, "dtype", None)
    is_wide = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
    is_wide = is_wide and jnp.finfo(dtype).bits >= 32
    if not is_wide or jnp.shape(total) != ():
        raise bad_input(
            f"the total of the loss is {_describe(total)}.",
            "one real number of shape (), in float32 or float64.",
            "sum over steps and examples, in float32: logits.astype('float32').",
        )
    if jnp.shape(weight) != ():
        raise bad_input(
            f"the weight of the loss is {_describe(weight)}.",
            "one number of shape ().",
            "return the number of summed terms, such as losses.size or mask.sum().",
        )
    return total, jnp.asarray(weight).astype(dtype), state


def _describe(value: Any) -> str:
    if hasattr(value, "dtype"):
        return f"an array of {value.dtype} and shape {jnp.shape(value)}"
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"
