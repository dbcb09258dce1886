"""The plane or space in which states vary most, and how many dimensions they take."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .._core.errors import bad_input
from .._core.validation import check_count


class PrincipalComponents(NamedTuple):
    """The result of `principal_components`.

    Attributes:
        mean: of the vectors.
        directions: orthonormal rows, by decreasing variance; the largest entry of each is positive.
        variances: of the vectors along the directions, with the divisor m − 1 for m vectors.
        total_variance: along all n directions.
    """

    mean: Float[Array, " n"]
    directions: Float[Array, "k n"]
    variances: Float[Array, " k"]
    total_variance: Float[Array, ""]

    @property
    def explained(self) -> Float[Array, " k"]:
        """The share of the total variance along each direction."""
        return self.variances / self.total_variance

    def project(self, vectors: ArrayLike) -> Float[Array, "*leading k"]:
        """The coordinates of vectors along the directions, from the mean."""
        return (jnp.asarray(vectors, self.mean.dtype) - self.mean) @ self.directions.T


def principal_components(vectors: Float[Array, "*samples n"], *, k: int = 2) -> PrincipalComponents:
    """The k orthogonal directions along which vectors vary most, by a singular value decomposition.

    Args:
        vectors: all axes but the last are samples. `state_vectors` makes them of a tree of states.
        k: how many directions, at most n and at most the number of samples.

    Raises:
        ValueError: for fewer than two samples, numbers that are not real, or a k out of range.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> line = jnp.linspace(0, 1, 11)[:, None] * jnp.array([0.6, 0.0, 0.8])
        >>> components = seqmem.dynamics.principal_components(line, k=2)
        >>> components.directions[0].round(3).tolist() == jnp.array([0.6, 0.0, 0.8]).tolist()
        True
        >>> round(float(components.explained[0]), 3)
        1.0
    """
    samples = _samples("principal_components", vectors)
    check_count("principal_components", "k", k, remedy="leave it out for 2.")
    if k > min(samples.shape):
        raise bad_input(
            f"principal_components got k={k} for {len(samples)} vectors of {samples.shape[1]} "
            "entries.",
            f"1 to {min(samples.shape)} directions.",
            "choose a smaller k, or pass more vectors.",
        )
    return _components(samples, k=k)


def participation_ratio(vectors: Float[Array, "*samples n"]) -> Float[Array, ""]:
    """How many dimensions vectors take, a number in [1, n]:

        (Σ_i λ_i)² / Σ_i λ_i²    with the eigenvalues λ of their covariance

    It is 1 on a line, and n where the variance is the same in all directions. NaN where all
    vectors are equal.

    Args:
        vectors: all axes but the last are samples.

    Raises:
        ValueError: for fewer than two samples, or numbers that are not real.

    Example:
        >>> import jax.numpy as jnp, seqmem
        >>> corners = jnp.array([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]])
        >>> float(seqmem.dynamics.participation_ratio(corners))
        2.0
    """
    return _ratio(_samples("participation_ratio", vectors))


@functools.partial(jax.jit, static_argnames="k")
def _components(samples, *, k):
    mean = samples.mean(0)
    _, scales, directions = jnp.linalg.svd(samples - mean, full_matrices=False)
    variances = scales**2 / (len(samples) - 1)
    directions = directions[:k]
    largest = jnp.take_along_axis(directions, jnp.abs(directions).argmax(1)[:, None], 1)
    return PrincipalComponents(mean, directions * jnp.sign(largest), variances[:k], variances.sum())


@jax.jit
def _ratio(samples):
    centred = samples - samples.mean(0)
    centred = centred / jnp.abs(centred).max()  # no overflow of the squares
    # The products of vectors have the nonzero eigenvalues of those of entries.
    small = centred.T @ centred if len(samples) > samples.shape[1] else centred @ centred.T
    return jnp.trace(small) ** 2 / (small**2).sum()


def _samples(owner: str, vectors: ArrayLike) -> Float[Array, "m n"]:
    array = jnp.asarray(vectors)
    if array.ndim < 2 or array.size < 2 * array.shape[-1] or not array.size:
        raise bad_input(
            f"{owner} got vectors of shape {array.shape}.",
            "[*samples, n], at least two samples.",
            "put the n entries last; state_vectors makes vectors of a tree of states.",
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise bad_input(
            f"{owner} got {array.dtype}.", "real floating point numbers.", "cast with astype."
        )
    return array.reshape(-1, array.shape[-1])
