import dataclasses
import math

import jax
from jaxtyping import Array, Float

from ..._core.errors import bad_input
from ..._core.validation import check_not_negative, check_sizes
from ..initialisers import normal
from .structure import AbstractStructure


@dataclasses.dataclass(frozen=True)
class LowRank(AbstractStructure):
    """A matrix of low rank, perhaps with a random matrix that is not learned.

        U = M Nᵀ / n + g χ        n columns, χ of variance 1/n

    Parameters: M (rows, rank) and N (columns, rank), standard normal at the start, and χ with a
    gradient of 0, so leave it out of weight decay.
    Source: Mastrogiuseppe & Ostojic 2018, arXiv:1711.09672: connectivity of a random part and of a
    low-dimensional one. Its beginning was read. Differs: g χ does not depend on M and N.

    Args:
        rank: columns of M and of N, > 0, at most the rows and the columns of the matrix.
        random_gain: g, >= 0; 0 leaves χ out.

    Raises:
        ValueError: for a rank that is not a whole number of at least 1, or a gain below 0; on use,
            for a rank above the size of the matrix.
    """

    rank: int
    random_gain: float = 0.0

    def __post_init__(self):
        check_sizes("LowRank", rank=self.rank)
        check_not_negative("LowRank", "random_gain", self.random_gain)

    def draw(self, key, shape):
        *gates, rows, columns = shape
        if self.rank > min(rows, columns):
            raise bad_input(
                f"LowRank got rank={self.rank} for a matrix of {rows} rows and {columns} columns.",
                "a rank of at most the smaller of the two.",
                "choose a smaller rank, or a larger hidden_size.",
            )
        keys = jax.random.split(key, 3)
        parameters = {
            "M": normal(keys[0], (*gates, rows, self.rank)),
            "N": normal(keys[1], (*gates, columns, self.rank)),
        }
        if self.random_gain:
            parameters["chi"] = normal(keys[2], shape) / math.sqrt(columns)
        return parameters

    def matrix(self, parameters: dict[str, Float[Array, "..."]]) -> Float[Array, "..."]:
        M, N = parameters["M"], parameters["N"]
        U = M @ N.mT / N.shape[-2]
        if self.random_gain:
            U = U + self.random_gain * jax.lax.stop_gradient(parameters["chi"])
        return U
