"""Arrays on the devices of a sharding."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def raw_array(array: Array) -> Array:
    """The numbers of random keys; other arrays as they are."""
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(array) if is_key else array


def place(array: Array | np.ndarray, sharding: jax.sharding.Sharding) -> Array:
    """An array, or random keys, that every process holds, with another sharding."""
    if isinstance(array, np.ndarray) or raw_array(array) is array:
        return shard_array(np.asarray(array), sharding)
    data = shard_array(np.asarray(raw_array(array)), sharding)
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))


def shard_array(value: np.ndarray, sharding: jax.sharding.Sharding) -> Array:
    """A NumPy array that every process holds, as a JAX array with a sharding."""
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])
