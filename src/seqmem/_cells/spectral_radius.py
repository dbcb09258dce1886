"""The spectral radius of a matrix, on every platform."""

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float

SQUARINGS = 40  # of the matrix: its power is then 2⁴⁰


@jax.jit
def spectral_radius_of(A: Float[Array, "n n"]) -> Float[Array, ""]:
    """The largest modulus of an eigenvalue, by Gelfand's formula with repeated squares:

        ρ = lim ‖Aᵏ‖^(1/k),    k = 2, 4, 8, ...

    It is a few products on every platform, also inside of jit, where XLA has no eigenvalues of a
    general matrix for TPU. A matrix of which a power is 0 has ρ = 0.
    """

    def square(m: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        power, log_radius = carry
        power = jnp.matmul(power, power, precision=Precision.HIGHEST)
        norm = jnp.linalg.norm(power)
        log_radius += jnp.log(norm) / 2.0 ** (m + 1).astype(A.dtype)
        return power / jnp.where(norm > 0, norm, 1), log_radius

    norm = jnp.linalg.norm(A)
    start = (A / jnp.where(norm > 0, norm, 1), jnp.log(norm))
    return jnp.exp(jax.lax.fori_loop(0, SQUARINGS, square, start)[1])
