"""Normalisation over the last axis, without gains and biases: the caller multiplies and adds."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def rms_norm(x: Float[Array, "*lead size"], eps: float) -> Float[Array, "*lead size"]:
    """x / √(mean(x²) + ε).

    Source: Zhang & Sennrich 2019, arXiv:1910.07467. Differs: ε, which programs add.
    """
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps)


def layer_norm(x: Float[Array, "*lead size"], eps: float) -> Float[Array, "*lead size"]:
    """(x − mean(x)) / √(var(x) + ε).

    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450. Differs: ε, which programs add.
    """
    return rms_norm(x - jnp.mean(x, -1, keepdims=True), eps)
