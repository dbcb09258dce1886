"""The nonlinearity of networks with orthogonal matrices."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def mod_relu(z: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """sign(z) relu(|z| + b): the sign stays, and the modulus moves by b.

    Source: Arjovsky, Shah & Bengio 2016, arXiv:1511.06464, for real z. The sign is written as two
    comparisons, since the function of that name does not compile within a kernel for TPU.
    """
    below = jnp.where(z < 0, -jax.nn.relu(b - z), jnp.zeros_like(z))
    return jnp.where(z > 0, jax.nn.relu(z + b), below)
