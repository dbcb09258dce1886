import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._core.errors import bad_input
from ..initialisers import uniform
from .exponential import precise_product
from .orthogonal import exponential, plane_rotations
from .structure import AbstractStructure, check_square


@dataclasses.dataclass(frozen=True)
class Schur(AbstractStructure):
    """A matrix in its real Schur form: given eigenvalues, and any eigenvectors.

        U = P Θ Pᵀ,    P = exp(A − Aᵀ)
        Θ = blocks γ_i [cos θ_i, −sin θ_i; sin θ_i, cos θ_i] along its diagonal, and T above them

    Its eigenvalues are γ_i exp(±i θ_i), whatever T is; with γ = 1 and T = 0 it is orthogonal, and T
    adds transients that grow for a while without an eigenvalue above 1. Keep γ near 1 by a penalty
    on (γ − 1)² in the loss. Parameters: A, `gamma` (1 at the start), `theta` (uniform in [0, 2π))
    and T (0).
    Source: Kerg et al. 2019, arXiv:1905.12080. The paper's text was not read beyond its
    introduction; the equations are those of nnRNN/nnRNN_release. Differs: T has no entries within
    the blocks, where the program's would change the eigenvalues.

    Raises:
        ValueError: on use, for a matrix that is not square, or of an odd size.
    """

    def draw(self, key, shape):
        size = check_square("Schur", shape)
        if size % 2:
            raise bad_input(
                f"Schur got a matrix of {size} rows.",
                "an even size, since its eigenvalues come in pairs.",
                "choose an even hidden_size.",
            )
        basis_key, angle_key = jax.random.split(key)
        theta = uniform(angle_key, (*shape[:-2], size // 2), 0.0, 2 * math.pi)
        return {
            "A": plane_rotations(basis_key, shape[:-2], size),
            "gamma": jnp.ones_like(theta),
            "theta": theta,
            "T": jnp.zeros(shape, theta.dtype),
        }

    def matrix(self, parameters: dict[str, Float[Array, "..."]]) -> Float[Array, "..."]:
        gamma, theta, T = parameters["gamma"], parameters["theta"], parameters["T"]
        P, pair = exponential(parameters["A"]), np.arange(T.shape[-1]) // 2
        cosine, sine = gamma * jnp.cos(theta), gamma * jnp.sin(theta)
        even = 2 * np.arange(T.shape[-1] // 2)
        blocks = jnp.where(pair[:, None] < pair, T, jnp.zeros_like(T))
        blocks = blocks.at[..., even, even].set(cosine).at[..., even + 1, even + 1].set(cosine)
        blocks = blocks.at[..., even, even + 1].set(-sine).at[..., even + 1, even].set(sine)
        return precise_product(precise_product(P, blocks), P.mT)
