"""The order of the data, computed from a key and a position."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .._core.validation import check_count


def example_at(key: PRNGKeyArray, position: int, num_examples: int) -> int:
    """The index of the example at a position: every example once per epoch, shuffled every epoch.

        epoch, place = divmod(position, n)
        example = permutation(fold_in(key, epoch), n)[place]

    The order has no state, so a run that resumes at any position reads the same examples.

    Args:
        key: random key of the order.
        position: number of examples before it, >= 0.
        num_examples: n, > 0.

    Raises:
        ValueError: where a number is out of range.

    Example:
        >>> import jax
        >>> from seqmem.experiment import example_at
        >>> sorted(example_at(jax.random.key(0), position, 3) for position in range(3, 6))
        [0, 1, 2]
    """
    check_count("example_at", "position", position, at_least=0)
    check_count("example_at", "num_examples", num_examples)
    epoch, place = divmod(position, num_examples)
    key_bytes = np.asarray(jax.random.key_data(key)).tobytes()
    return int(_permutation(key_bytes, str(jax.random.key_impl(key)), epoch, num_examples)[place])


@functools.lru_cache(maxsize=4)
def _permutation(key_bytes: bytes, impl: str, epoch: int, num_examples: int) -> np.ndarray:
    key = jax.random.wrap_key_data(jnp.array(np.frombuffer(key_bytes, np.uint32)), impl=impl)
    return np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), num_examples))
