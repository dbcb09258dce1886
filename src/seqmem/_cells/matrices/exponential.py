"""The exponential of a matrix, by operations that compile fast and need no library."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

TERMS = 16  # of the series: the next one is below 10⁻¹⁹ for a matrix of norm ½
SQUARINGS = 16  # at most: for a norm of up to 2¹⁵, above which the result is NaN

# A product of 16-bit factors, the default of a TPU, would not be orthogonal to more than 3 digits.
precise_product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


def expm(A: Float[Array, "*gates size size"]) -> Float[Array, "*gates size size"]:
    """exp(A): the series at A/2^s, squared s times.

        E ← I + A E / (2^s k)        for k = 16, …, 1, with ‖A‖₁/2^s <= ½
        E ← E E                      s times

    Both loops are scans, which JAX differentiates. `jax.scipy.linalg.expm` takes a fifth of the
    products, but its five approximations and its linear system take long to compile, and every
    program with the matrix has them.
    """
    norm = jnp.abs(A).sum(-2).max(-1)[..., None, None]
    wanted = jnp.ceil(jnp.log2(jnp.maximum(2 * jax.lax.stop_gradient(norm), 1)))
    squarings = jnp.where(wanted <= SQUARINGS, wanted, jnp.nan)
    X, identity = A / 2**squarings, jnp.eye(A.shape[-1], dtype=A.dtype)

    def add_term(E: Array, k: Array) -> tuple[Array, None]:
        return identity + precise_product(X, E) / k, None

    def square(E: Array, index: Array) -> tuple[Array, None]:
        return jnp.where(index < squarings, precise_product(E, E), E), None

    E = jnp.broadcast_to(identity, A.shape)
    E, _ = jax.lax.scan(add_term, E, jnp.arange(TERMS, 0, -1).astype(A.dtype))
    E, _ = jax.lax.scan(square, E, jnp.arange(SQUARINGS).astype(A.dtype))
    return E
