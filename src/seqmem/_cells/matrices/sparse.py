import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ..._core.errors import bad_input
from .dense import Dense
from .structure import AbstractStructure


@dataclasses.dataclass(frozen=True, init=False)
class Sparse(AbstractStructure):
    """A matrix with given zeros, and another structure elsewhere.

        U = mask ∘ U'        U' of the other structure

    The mask says which connections exist: it is a constant of the program, neither a parameter nor
    seen by an optimiser. The product is as large as without it. `Sparse(mask, Dale())` is a network
    of excitatory and inhibitory units with a wiring of its own. Where the mask takes away entries,
    what U' promised of eigenvalues no longer holds.

    Parameters: those of U'. They are drawn as without a mask: with a share p of ones the weights of
    a unit have 1/√p times smaller a norm than they would need for activity of the same size.

    Args:
        mask: (rows, columns), True or 1 where a connection to the row's unit from the column's
            exists.
        structure: of U'; None is `seqmem.Dense()`.

    Raises:
        ValueError: for a mask that is no matrix of 0 and 1, or a structure of another kind; on use,
            for a matrix of another shape than the mask.
    """

    shape: tuple[int, int]
    bits: bytes = dataclasses.field(repr=False)  # whose hash is computed once
    structure: AbstractStructure

    def __init__(
        self,
        mask: Bool[Array | np.ndarray, "rows columns"],
        structure: AbstractStructure | None = None,
    ):
        entries = np.asarray(mask)
        if entries.ndim != 2 or not np.isin(entries, (0, 1)).all():
            raise bad_input(
                f"Sparse got a mask of shape {entries.shape} and dtype {entries.dtype}.",
                "a matrix of True and False, or of 1 and 0.",
                "pass one entry for each connection.",
            )
        structure = Dense() if structure is None else structure
        if not isinstance(structure, AbstractStructure):
            raise bad_input(
                f"Sparse got structure={structure!r}.",
                "the structure of the entries that are not masked.",
                "leave it out for any matrix, or pass an object such as seqmem.Dale().",
            )
        object.__setattr__(self, "shape", entries.shape)
        object.__setattr__(self, "bits", np.packbits(entries.astype(bool)).tobytes())
        object.__setattr__(self, "structure", structure)

    @property
    def mask(self) -> Bool[np.ndarray, "rows columns"]:
        """Which connections exist."""
        size = self.shape[0] * self.shape[1]
        bits = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=size)
        return bits.reshape(self.shape).astype(bool)

    def draw(self, key, shape):
        if shape[-2:] != self.shape:
            raise bad_input(
                f"Sparse got a mask of shape {self.shape} for a matrix of shape {shape[-2:]}.",
                "a mask of the shape of the matrix.",
                "pass a mask of hidden_size rows and hidden_size columns.",
            )
        return self.structure.draw(key, shape)

    def matrix(self, parameters):
        U = self.structure.matrix(parameters)
        return jnp.where(self.mask, U, jnp.zeros_like(U))
