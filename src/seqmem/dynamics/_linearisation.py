"""The linear map that a cell is near a state: eigenvalues, modes, time constants, stability."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float, Int, PyTree, Shaped

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from ._jacobians import state_jacobians
from ._state_vectors import axes_of_states


class Linearisation(NamedTuple):
    """The result of `linearise`: arrays of NumPy, modes in the order of decreasing |λ|.

    Attributes:
        jacobians: J = ∂F/∂s.
        eigenvalues: λ.
        right_eigenvectors: the columns of R, of length 1: J R = R diag(λ).
        left_eigenvectors: the rows of L = R⁻¹: L J = diag(λ) L. Row i of L (s − s*) is how much of
            mode i is in a deviation from s*. NaN where J has no n independent eigenvectors within
            rounding.
    """

    jacobians: Float[np.ndarray, "*points n n"]
    eigenvalues: Complex[np.ndarray, "*points n"]
    right_eigenvectors: Complex[np.ndarray, "*points n n"]
    left_eigenvectors: Complex[np.ndarray, "*points n n"]

    @property
    def time_constants(self) -> Float[np.ndarray, "*points n"]:
        """τ = −1 / ln|λ|, the steps in which a mode shrinks by a factor e. It is infinite for |λ| =
        1, and below 0 for a mode that grows, by e in −τ steps.
        """
        with np.errstate(divide="ignore"):
            return 1 / (0 - np.log(np.abs(self.eigenvalues)))  # 1 / 0 and not 1 / −0

    @property
    def half_lives(self) -> Float[np.ndarray, "*points n"]:
        """τ ln 2, the steps in which a mode shrinks to a half; below 0 for one that doubles."""
        return np.log(2).astype(self.jacobians.dtype) * self.time_constants

    @property
    def num_unstable(self) -> Int[np.ndarray, "*points"]:
        """The number of modes with |λ| > 1."""
        return (np.abs(self.eigenvalues) > 1).sum(-1)

    @property
    def kind(self) -> Shaped[np.ndarray, "*points"]:
        """ "stable" without an unstable mode, "unstable" where all are, "saddle" between.

        A mode with |λ| = 1, such as that along a line of fixed points, is not unstable; rounding
        decides.
        """
        count = self.num_unstable
        is_unstable = count == self.eigenvalues.shape[-1]
        return np.where(count == 0, "stable", np.where(is_unstable, "unstable", "saddle"))

    def select(self, which: Any) -> "Linearisation":
        """Some of the points, by booleans or indices."""
        return Linearisation(*(leaf[which] for leaf in self))


def linearise(cell: AbstractCell, x: PyTree, states: State) -> Linearisation:
    """The modes of a cell near states, such as its fixed points, while its input is x.

        s_{t+1} − s* ≈ J (s_t − s*) + F(s*, x) − s*,    J = ∂F/∂s at s*

    JAX decomposes general matrices on no TPU, and on a GPU by default on the host, so NumPy does it
    on the host, and this is no function for jit.

    Args:
        cell: the cell.
        x: one input, without time and batch.
        states: a tree like `cell.init_state()` with any axes in front, such as
            `fixed_points(...).states`.

    Raises:
        ValueError: for another tree or shape, a state that is complex or has no floating point
            entry, and a Jacobian that is not finite.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> modes = seqmem.dynamics.linearise(cell, jnp.zeros(3), cell.init_state())
        >>> str(modes.kind), modes.time_constants.shape
        ('stable', (5,))
    """
    leading = axes_of_states(cell, states)
    states = jax.tree.map(jnp.asarray, states)
    xs = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (1, *leading, *leaf.shape)), jax.tree.map(np.asarray, x)
    )
    jacobians = np.asarray(_jacobians(cell, states, xs)[0])
    if not np.isfinite(jacobians).all():
        raise bad_input(
            "linearise got states whose Jacobian is not finite.",
            "states at which the cell has a finite derivative.",
            "leave out the states that overflow.",
        )
    eigenvalues, R = np.linalg.eig(jacobians)
    order = np.argsort(-np.abs(eigenvalues), axis=-1, kind="stable")
    eigenvalues = np.take_along_axis(eigenvalues, order, -1)
    R = np.take_along_axis(R, order[..., None, :], -1)
    dtype = np.result_type(jacobians.dtype, np.complex64)
    return Linearisation(jacobians, eigenvalues.astype(dtype), R.astype(dtype), _invert(R, dtype))


@jax.jit
def _jacobians(cell, states, xs):
    return state_jacobians(cell, states, xs)


def _invert(R: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """R⁻¹, NaN where R is singular within rounding."""
    is_singular = ~(np.linalg.cond(R) < 1 / np.finfo(dtype).eps)[..., None, None]
    inverse = np.linalg.inv(np.where(is_singular, np.eye(R.shape[-1], dtype=R.dtype), R))
    return np.where(is_singular, np.asarray(np.nan, dtype), inverse.astype(dtype))
