"""Where arrays are placed on devices."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def numbers(array: Array) -> Array:
    """A key as its numbers, and any other array as it is."""
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(array) if is_key else array


def place_by(array: Array | np.ndarray, sharding: jax.sharding.Sharding) -> Array:
    """An array, or keys, that every process holds, as the sharding has it."""
    if isinstance(array, np.ndarray) or numbers(array) is array:
        return on_devices(np.asarray(array), sharding)
    new = on_devices(np.asarray(numbers(array)), sharding)
    return jax.random.wrap_key_data(new, impl=jax.random.key_impl(array))


def on_devices(value: np.ndarray, sharding: jax.sharding.Sharding) -> Array:
    """Each device its part of numbers that every process holds."""
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])
