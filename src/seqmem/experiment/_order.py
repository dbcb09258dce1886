"""The order of the data, from a key and a position."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .._core.errors import bad_input


def example_at(key: PRNGKeyArray, position: int, count: int) -> int:
    """Which of `count` examples is read at a position: each once per epoch, in a new order each.

        epoch, place = divmod(position, count)
        example = permutation(fold_in(key, epoch), count)[place]

    There is nothing to remember between two positions, so a run that begins anywhere reads what
    it would have read.

    Args:
        key: for the order.
        position: examples read before, >= 0.
        count: examples there are, > 0.

    Raises:
        ValueError: where position or count is out of range.

    Example:
        >>> import jax
        >>> from seqmem.experiment import example_at
        >>> sorted(example_at(jax.random.key(0), position, 3) for position in range(3, 6))
        [0, 1, 2]
    """
    if position < 0 or count < 1:
        raise bad_input(
            f"position={position}, count={count}.",
            "position >= 0 and count > 0.",
            "count the examples that were read before, and those there are.",
        )
    epoch, place = divmod(position, count)
    words = np.asarray(jax.random.key_data(key)).tobytes()
    return int(_epoch(words, str(jax.random.key_impl(key)), epoch, count)[place])


@functools.lru_cache(maxsize=4)
def _epoch(words: bytes, impl: str, epoch: int, count: int) -> np.ndarray:
    key = jax.random.wrap_key_data(jnp.array(np.frombuffer(words, np.uint32)), impl=impl)
    return np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), count))
