import dataclasses

import jax.numpy as jnp
import numpy as np

from ..._core.validation import check_share
from ..initialisers import normal
from .structure import AbstractStructure


@dataclasses.dataclass(frozen=True)
class Dale(AbstractStructure):
    """A matrix that keeps Dale's law: all connections from one unit have the same sign.

        U = |A| diag(d)        d_j = 1 for the excitatory units, which are first; −1 for the others

    Whatever A becomes in training, no unit changes its sign. Parameters: A. At the start its
    entries are normal, with variances so that excitation and inhibition of a unit cancel in the
    mean, and the squares of its weights add up to 1 in the mean.
    Source: Song, Yang & Wang 2016, PLoS Computational Biology 12(2),
    doi:10.1371/journal.pcbi.1004792: W⁺ D. Its abstract and that section were read. Differs: |A|
    where they rectify A, so that no weight is stuck at 0; the initial weights. For networks without
    connections from a unit to itself, see `seqmem.Sparse`.

    Args:
        excitatory: the share of excitatory units, 0 <= excitatory <= 1, rounded to whole units.

    Raises:
        ValueError: for a share outside of [0, 1].
    """

    excitatory: float = 0.8

    def __post_init__(self):
        check_share("Dale", "excitatory", self.excitatory)

    def is_excitatory(self, units: int) -> np.ndarray:
        """Which of that many units are excitatory."""
        return np.arange(units) < round(self.excitatory * units)

    def draw(self, key, shape):
        units = shape[-1]
        is_excitatory = self.is_excitatory(units)
        share = is_excitatory.mean()
        scale = np.where(is_excitatory, 1 - share, share)
        is_balanced = 0 < share < 1
        scale = scale / np.sqrt(units * share * (1 - share)) if is_balanced else 1 / units
        A = normal(key, shape)
        return A * jnp.asarray(scale, A.dtype)

    def matrix(self, parameters):
        signs = np.where(self.is_excitatory(parameters.shape[-1]), 1, -1)
        return jnp.abs(parameters) * jnp.asarray(signs, parameters.dtype)
