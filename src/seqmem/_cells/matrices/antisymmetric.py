import dataclasses

import jax.numpy as jnp

from ..._core.validation import check_not_negative
from ..initialisers import lecun_normal
from .structure import AbstractStructure, check_square


@dataclasses.dataclass(frozen=True)
class Antisymmetric(AbstractStructure):
    """A matrix whose eigenvalues all have the real part −damping: antisymmetric, and damped.

        U = A − Aᵀ − γ I

    Parameters: A, normal with variance 1/n at the start.
    Source: Chang et al. 2019, arXiv:1902.09689. Its beginning was read; the equation is that of
    torchrecurrent 0.2.5.

    Args:
        damping: γ, >= 0.

    Raises:
        ValueError: for a damping below 0; on use, for a matrix that is not square.
    """

    damping: float = 0.0

    def __post_init__(self):
        check_not_negative("Antisymmetric", "damping", self.damping)

    def draw(self, key, shape):
        check_square("Antisymmetric", shape)
        return lecun_normal(key, shape)

    def matrix(self, parameters):
        A = parameters
        return A - A.mT - self.damping * jnp.eye(A.shape[-1], dtype=A.dtype)
