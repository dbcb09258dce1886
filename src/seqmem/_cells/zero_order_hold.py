"""Exact discretisation of a linear system whose input is constant over a step."""

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

SMALL = 0.02  # for |z| below it, the first terms of the series are exact to rounding


def zero_order_hold(
    a: Complex[Array, "*system"], delta: Float[Array, "*#system"]
) -> tuple[Complex[Array, "*system"], Complex[Array, "*system"]]:
    """exp(aΔ) and (exp(aΔ) − 1) / a: the factors of the state and of the input in the solution of
    ds/dt = a s + x after a time Δ. At a = 0 the second is its limit, Δ.
    """
    delta = delta.astype(a.dtype)
    z = delta * a
    # The derivative of the quotient is a difference of nearly equal numbers where z is small, and
    # NaN at 0.
    is_small = jnp.abs(z) < SMALL
    series, small = jnp.ones_like(z), jnp.where(is_small, z, 0)
    for n in range(7, 1, -1):
        series = 1 + series * small / n
    quotient = jnp.expm1(jnp.where(is_small, 1, z)) / jnp.where(is_small, 1, a)
    return jnp.exp(z), jnp.where(is_small, delta * series, quotient)
