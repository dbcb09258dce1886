"""Linear least squares by orthogonal factors, with first derivatives that hold at any rank."""

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float

from .._core.errors import bad_input


@jax.custom_jvp
def triangular_factor(A: Float[Array, "rows columns"]) -> Float[Array, "columns columns"]:
    """R with RᵀR = AᵀA, of a matrix with at least as many rows as columns.

    Its derivative is that of Qᵀ A for a fixed Q. It differs from that of a triangular R by a
    rotation, which RᵀR does not see, and needs no inverse of R: where A has no full rank, or has
    not yet, the derivative of a QR decomposition is not finite.
    """
    return jnp.linalg.qr(A, mode="r")


@triangular_factor.defjvp
def _(primals, tangents):
    (A,), (dA,) = primals, tangents
    Q, R = _orthonormal_factor(A)
    return R, multiply(Q.T, dA)


@jax.custom_jvp
def _orthonormal_factor(A: Array) -> tuple[Array, Array]:
    """Q and R of A = Q R."""
    Q, R = jnp.linalg.qr(A)
    return Q, R


@_orthonormal_factor.defjvp
def _(primals, tangents):
    raise bad_input(
        "a second derivative of ridge regression by its states or targets.",
        "a first derivative.",
        "take one derivative, or differentiate jax.numpy.linalg.solve of your own products.",
    )


@jax.custom_jvp
def ridge_solution(
    A: Float[Array, "rows columns"], B: Float[Array, "rows targets"], alpha: Float[Array, ""]
) -> Float[Array, "columns targets"]:
    """The X that minimises ‖A X − B‖² + α ‖X‖², for α = 0 the one of least norm.

    X = V diag(σ / (σ² + α)) Uᵀ B        A = U diag(σ) Vᵀ
    """
    U, sigma, Vt = jnp.linalg.svd(A, full_matrices=False)
    shrunk, _ = _inverses(sigma, alpha)
    return multiply(Vt.T * shrunk, multiply(U.T, B))


@ridge_solution.defjvp
def _(primals, tangents):
    """dX = A⁺ (dB − dA X) + (AᵀA + α)⁺ (dAᵀ (B − A X) − X dα) + (1 − A⁺A) dAᵀ A⁺ᵀ X, by the
    derivative of the normal equations, with A⁺ = (AᵀA + α)⁺ Aᵀ. The last term is that of the least
    norm, and 0 where nothing is left out: Golub & Pereyra 1973, SIAM J. Numer. Anal. 10(2).
    """
    (A, B, alpha), (dA, dB, d_alpha) = primals, tangents
    U, sigma, Vt = jnp.linalg.svd(A, full_matrices=False)
    shrunk, inverse = _inverses(sigma, alpha)
    X = multiply(Vt.T * shrunk, multiply(U.T, B))
    along_B = shrunk[:, None] * multiply(U.T, dB - multiply(dA, X))
    along_A = multiply(Vt, multiply(dA.T, B - multiply(A, X)) - d_alpha * X)
    unused = multiply(Vt, multiply(dA.T, multiply(U * shrunk, multiply(Vt, X))))
    unused = jnp.where(inverse == 0, 1, 0)[:, None] * unused
    return X, multiply(Vt.T, along_B + inverse[:, None] * along_A + unused)


def _inverses(sigma: Array, alpha: Array) -> tuple[Array, Array]:
    """σ / (σ² + α) and 1 / (σ² + α), both 0 in directions that are left out: those of rounding,
    where α = 0.
    """
    rounding = 10 * len(sigma) * jnp.finfo(sigma.dtype).eps * sigma[0]
    is_used = (alpha > 0) | (sigma > rounding)
    inverse = jnp.where(is_used, 1 / jnp.where(is_used, sigma**2 + alpha, 1), 0)
    return sigma * inverse, inverse


def multiply(A: Array, B: Array) -> Array:
    """A B with all digits, also where the platform rounds factors by default."""
    return jnp.matmul(A, B, precision=Precision.HIGHEST)
