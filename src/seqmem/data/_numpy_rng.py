"""NumPy random numbers from JAX keys."""

import jax
import numpy as np
from jaxtyping import PRNGKeyArray


def numpy_rng(key: PRNGKeyArray, *counters: int) -> np.random.Generator:
    """A NumPy random generator from a JAX key and integers, such as an epoch and a position.

    The same arguments give the same numbers on every machine. It runs on the host and compiles
    nothing, so the shapes of the draws may differ from example to example.

    Args:
        key: a JAX random key.
        counters: integers >= 0; other integers give other numbers.

    Example:
        >>> import jax
        >>> from seqmem.data import numpy_rng
        >>> sorted(numpy_rng(jax.random.key(0), 7).permutation(5).tolist())
        [0, 1, 2, 3, 4]
    """
    words = np.asarray(jax.random.key_data(key)).ravel().tolist()
    return np.random.default_rng([*words, *counters])
