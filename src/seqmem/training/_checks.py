"""What losses and numbers of steps are accepted."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.errors import bad_input
from .._core.problem import State


def check_steps(came: str, steps: Any) -> None:
    """Raise a `ValueError` unless `steps` is a number of them."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise bad_input(came, "a whole number, at least 1.", "choose one, such as 64.")


def check_loss(returned: Any) -> tuple[Float[Array, ""], Float[Array, ""], State]:
    """(total, weight, state) of a loss, the weight in the dtype of the total."""
    if not isinstance(returned, tuple) or len(returned) != 3:
        raise bad_input(
            f"the loss returned {_described(returned)}.",
            "a tuple (total, weight, state).",
            "return the sum of the loss, over how much it is summed, and the state after it.",
        )
    total, weight, state = returned
    dtype = getattr(total, "dtype", None)
    narrow = dtype is None or not jnp.issubdtype(dtype, jnp.floating)
    if narrow or jnp.shape(total) != () or jnp.finfo(dtype).bits < 32:
        raise bad_input(
            f"the total of the loss is {_described(total)}.",
            "one real number of shape (), in float32 or float64.",
            "take the sum over steps and examples, of float32 numbers: logits.astype('float32').",
        )
    if jnp.shape(weight) != ():
        raise bad_input(
            f"the weight of the loss is {_described(weight)}.",
            "one number of shape ().",
            "return how many terms the total has, such as losses.size or mask.sum().",
        )
    return total, jnp.asarray(weight).astype(dtype), state


def _described(value: Any) -> str:
    if hasattr(value, "dtype"):
        return f"an array of {value.dtype} and shape {jnp.shape(value)}"
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"
