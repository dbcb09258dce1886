"""Where a head reads and writes: weightings over the slots of a memory.

All functions are finite, with their derivatives, wherever their arguments are finite: at slots and
keys of zeros, at weightings with zeros, and where powers underflow.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SHORTEST = 1e-3


def cosine_similarity(
    keys: Float[Array, "heads size"], memory: Float[Array, "slots size"]
) -> Float[Array, "heads slots"]:
    """The cosine of the angle between each key and each slot.

        K[k, m] = k · m / (max(‖k‖, ε) max(‖m‖, ε)),    ε = 10⁻³

    Vectors of at least the length ε have their cosine. Below it, K is linear in the vector, so
    that K[0, m] = 0 with the derivative m / (ε max(‖m‖, ε)), and no derivative exceeds 1/ε.
    """
    return (keys / lengths(keys)) @ (memory / lengths(memory)).mT


def lengths(vectors: Float[Array, "*axes size"]) -> Float[Array, "*axes 1"]:
    """max(‖v‖, ε), with a derivative of 0 below ε."""
    squares = jnp.sum(vectors**2, axis=-1, keepdims=True)
    is_short = squares < SHORTEST**2
    return jnp.where(is_short, SHORTEST, jnp.sqrt(jnp.where(is_short, 1, squares)))


def focus_by_content(
    keys: Float[Array, "heads size"],
    strengths: Float[Array, " heads"],
    memory: Float[Array, "slots size"],
) -> Float[Array, "heads slots"]:
    """Weightings of slots that resemble the keys: softmax(β K[k, m])."""
    return jax.nn.softmax(strengths[:, None] * cosine_similarity(keys, memory))


def shift(
    w: Float[Array, "heads slots"], shifts: Float[Array, "heads shifts"]
) -> Float[Array, "heads slots"]:
    """Each weighting turned around the circle of slots: w̃(i) = Σ_j w(i − j) s(j).

    The shifts s are weights of −n, ..., n slots.
    """
    most = shifts.shape[-1] // 2
    rotations = jnp.stack([jnp.roll(w, j, axis=-1) for j in range(-most, most + 1)], axis=-1)
    return jnp.sum(rotations * shifts[:, None], axis=-1)


def sharpen(
    w: Float[Array, "heads slots"], gamma: Float[Array, " heads"]
) -> Float[Array, "heads slots"]:
    """w(i)^γ / Σ_j w(j)^γ, for γ >= 1.

    The largest entry is divided by itself first, which changes nothing and leaves no sum that
    underflows. Negative entries, which no weighting has, count as 0, and a row without a positive
    entry becomes 0.
    """
    w = jnp.where(w < 0, 0, w)
    largest = jax.lax.stop_gradient(jnp.max(w, axis=-1, keepdims=True))
    powers = (w / jnp.where(largest > 0, largest, 1)) ** gamma[:, None]
    total = jnp.sum(powers, axis=-1, keepdims=True)
    return powers / jnp.where(total > 0, total, 1)
