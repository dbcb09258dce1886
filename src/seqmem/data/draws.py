"""Random numbers for data that are prepared on the host."""

import jax
import numpy as np
from jaxtyping import PRNGKeyArray


def generator(key: PRNGKeyArray, *numbers: int) -> np.random.Generator:
    """NumPy's random numbers from a JAX key and some whole numbers, such as an epoch.

    The same for the same arguments, on every machine, and nothing is compiled, whatever the shape.

    Args:
        key: of JAX.
        numbers: at least 0; others give other random numbers.

    Example:
        >>> import jax
        >>> from seqmem.data import generator
        >>> sorted(generator(jax.random.key(0), 7).permutation(5).tolist())
        [0, 1, 2, 3, 4]
    """
    words = np.asarray(jax.random.key_data(key)).ravel().tolist()
    return np.random.default_rng([*words, *numbers])
