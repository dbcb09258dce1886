import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..initialisers import uniform
from .exponential import expm
from .structure import AbstractStructure, check_square


@dataclasses.dataclass(frozen=True)
class Orthogonal(AbstractStructure):
    """An orthogonal matrix of determinant 1, by the exponential map.

        U = exp(A − Aᵀ)        A above its diagonal

    The exponential reaches every rotation, and is computed once per run. Parameters: A, whose
    entries on the diagonal and below are not used. At the start U is made of plane rotations by
    angles uniform in [−π, π), each of two neighbouring units.
    Source: Lezcano-Casado & Martínez-Rubio 2019, arXiv:1901.08428: the parametrization by the
    exponential map. The paper was not read beyond its introduction; the equation is that of
    nnRNN/nnRNN_release, which uses the authors' program. Differs: JAX's derivative of the
    series of the exponential in place of theirs.

    Raises:
        ValueError: on use, for a matrix that is not square.
    """

    def draw(self, key, shape):
        size = check_square("Orthogonal", shape)
        return plane_rotations(key, shape[:-2], size)

    def matrix(self, parameters):
        return exponential(parameters)


def plane_rotations(
    key: PRNGKeyArray, gates: tuple[int, ...], size: int
) -> Float[Array, "*gates size size"]:
    """A with exp(A − Aᵀ) a random rotation of each pair of neighbouring units."""
    pairs = 2 * jnp.arange(size // 2)
    angles = uniform(key, (*gates, size // 2), -math.pi, math.pi)
    return jnp.zeros((*gates, size, size), angles.dtype).at[..., pairs, pairs + 1].set(angles)


def exponential(A: Float[Array, "*gates size size"]) -> Float[Array, "*gates size size"]:
    """exp(A − Aᵀ), with the entries of A above its diagonal."""
    A = jnp.triu(A, 1)
    return expm(A - A.mT)
