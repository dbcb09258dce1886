"""Structured matrices: what a recurrent matrix is made of, declared by an object."""

import abc
import functools
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..._core.errors import bad_input
from ..._core.parametrization import AbstractParametrization
from ..._core.precision import as_precision, precision, state_dtype
from ..initialisers import gate_matrices


class AbstractStructure(abc.ABC):
    """The structure of a recurrent matrix: which parameters it has, and how it follows from them.

        U = matrix(parameters)

    A cell with an argument `recurrent` takes one, such as `seqmem.LowRank(3)`. A subclass is a
    frozen dataclass that writes `draw` and `matrix` for matrices with any number of axes in front,
    which are the gates.

    Example:
        >>> import dataclasses, jax, jax.numpy as jnp, seqmem
        >>> @dataclasses.dataclass(frozen=True)
        ... class Diagonal(seqmem.AbstractStructure):
        ...     def draw(self, key, shape):
        ...         return jax.random.uniform(key, shape[:-1])
        ...     def matrix(self, parameters):
        ...         return parameters[..., None] * jnp.eye(parameters.shape[-1])
        >>> cell = seqmem.GRU(3, 5, recurrent=Diagonal(), key=jax.random.key(0))
        >>> cell.U.parameters.shape, cell.U.shape
        ((3, 5), (3, 5, 5))
    """

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> PyTree:
        """The initial parameters of a matrix of that shape, rows and columns last.

        Raises:
            ValueError: for a shape that the structure does not have.
        """

    @abc.abstractmethod
    def matrix(self, parameters: PyTree) -> Float[Array, "*gates rows columns"]:
        """The matrix. It gets parameters of at least 32 bits."""

    def __call__(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> "StructuredMatrix":
        """A matrix of this structure with initial parameters."""
        return StructuredMatrix(self.draw(key, shape), self)


class StructuredMatrix(AbstractParametrization):
    """A matrix with a structure: its parameters, and how it follows from them.

    Args:
        parameters: what is learned.
        structure: how the matrix follows from them.
    """

    parameters: PyTree
    structure: AbstractStructure = eqx.field(static=True)

    def value(self) -> Float[Array, "*gates rows columns"]:
        """The matrix, in the precision of its parameters; it is computed in at least 32 bits."""
        wide = as_precision(self.parameters, state_dtype(self.parameters))
        return as_precision(self.structure.matrix(wide), precision(self.parameters))

    @property
    def mT(self) -> Float[Array, "*gates columns rows"]:  # noqa: N802
        """The matrix, transposed."""
        return self.value().mT

    def __getitem__(self, index: Any) -> Float[Array, "..."]:
        """Entries of the matrix, such as those of one gate."""
        return self.value()[index]

    @property
    def shape(self) -> tuple[int, ...]:
        return jax.eval_shape(self.value).shape


def recurrent_matrices(
    owner: str,
    recurrent: Any,
    key: PRNGKeyArray,
    input_shape: tuple[int, ...],
    recurrent_shape: tuple[int, ...],
) -> tuple[Float[Array, "..."], Float[Array, "..."] | StructuredMatrix]:
    """(W, U) of a cell: those of `gate_matrices`, with another U where a structure is given.

    Raises:
        ValueError: for an object of another kind.
    """
    if recurrent is None:
        return gate_matrices(key, input_shape, recurrent_shape)
    if not isinstance(recurrent, AbstractStructure):
        raise bad_input(
            f"{owner} got recurrent={recurrent!r}.",
            "the structure of the recurrent matrix, or None for any matrix.",
            "pass an object such as seqmem.LowRank(3) or seqmem.Orthogonal().",
        )
    # Entries of U must not depend on those of W, hence the other key.
    U = recurrent(jax.random.fold_in(key, 1), recurrent_shape)
    return input_matrices(key, input_shape, recurrent_shape), U


@functools.partial(jax.jit, static_argnums=(1, 2))
def input_matrices(
    key: PRNGKeyArray, input_shape: tuple[int, ...], recurrent_shape: tuple[int, ...]
) -> Float[Array, "..."]:
    """W of `gate_matrices`, in a program without the decomposition that makes U."""
    return gate_matrices(key, input_shape, recurrent_shape)[0]


def check_square(owner: str, shape: tuple[int, ...]) -> int:
    """The size of a square matrix.

    Raises:
        ValueError: for another shape.
    """
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise bad_input(
            f"{owner} got a matrix of shape {shape}.",
            "as many rows as columns.",
            "use it for a matrix from the state to itself.",
        )
    return shape[-1]
