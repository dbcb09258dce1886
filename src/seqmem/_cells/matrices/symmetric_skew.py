import dataclasses

import jax.numpy as jnp

from ..._core.validation import check_not_negative, check_share
from ..initialisers import lecun_normal
from .structure import AbstractStructure, check_square


@dataclasses.dataclass(frozen=True)
class SymmetricSkew(AbstractStructure):
    """A matrix between a symmetric and an antisymmetric one, damped.

        U = (1 − β) (M + Mᵀ) + β (M − Mᵀ) − γ I

    Its symmetric part is (1 − β) (M + Mᵀ) − γ I, so β = 1 is `seqmem.Antisymmetric`, whose
    eigenvalues lie on one vertical line, and with less β they spread along the real axis.
    Parameters: M, normal with variance 1/n at the start.
    Source: Erichson et al. 2021, arXiv:2006.12070. The paper's text was not read; the equation is
    that of the authors' program, erichson/LipschitzRNN.

    Args:
        skew: β, 0 <= β <= 1.
        damping: γ, >= 0.

    Raises:
        ValueError: for a skew outside of [0, 1] or a damping below 0; on use, for a matrix that is
            not square.
    """

    skew: float = 0.8
    damping: float = 0.01

    def __post_init__(self):
        check_share("SymmetricSkew", "skew", self.skew)
        check_not_negative("SymmetricSkew", "damping", self.damping)

    def draw(self, key, shape):
        check_square("SymmetricSkew", shape)
        return lecun_normal(key, shape)

    def matrix(self, parameters):
        M, identity = parameters, jnp.eye(parameters.shape[-1], dtype=parameters.dtype)
        symmetric, skew = M + M.mT, M - M.mT
        return (1 - self.skew) * symmetric + self.skew * skew - self.damping * identity
