import dataclasses

from ..initialisers import orthogonal
from .structure import AbstractStructure


@dataclasses.dataclass(frozen=True)
class Dense(AbstractStructure):
    """Any matrix: its entries are the parameters. Orthogonal at the start."""

    def draw(self, key, shape):
        return orthogonal(key, shape)

    def matrix(self, parameters):
        return parameters
