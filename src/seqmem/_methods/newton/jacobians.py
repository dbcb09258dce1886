"""Structures of Jacobians: a matrix, a diagonal, small blocks along the diagonal."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._core.batching import vmap_axes
from ..._core.cell import AbstractCell
from ..._core.errors import bad_input
from ..._core.jacobian import AbstractJacobian
from ..._core.problem import State
from ..._core.ravel import RealRavel
from ..._core.rows import from_rows, to_rows
from ..recurrence import BLOCKS, dense_states, diagonal_states, in_chunks, linear_states

CHUNK_SIZE = 16  # steps of the linear recurrence that run one after another


def declared_jacobian(cell: AbstractCell) -> AbstractJacobian | None:
    """The structure that the cell declares, or else its family; None where neither does."""
    return cell.family.jacobian if cell.jacobian is None else cell.jacobian


@dataclasses.dataclass(frozen=True)
class DenseJacobian(AbstractJacobian):
    """A matrix of n × n real numbers, for n real entries of the state: any cell.

    A step costs O(n³) where it is composed with others.
    """

    def linearise(self, step, state):
        ravel = RealRavel(state)

        def advance(vector: Array) -> tuple[Array, State]:
            new = step(ravel.state(vector))
            return ravel.vector(new), new

        jacobian, new = jax.jacfwd(advance, has_aux=True)(ravel.vector(state))
        return new, jacobian

    def solve(self, jacobians, residuals, cut, *, reverse):
        ravel = RealRavel(jax.tree.map(lambda leaf: leaf[0], residuals))
        vectors = vmap_axes(ravel.vector, 1)(residuals)
        return vmap_axes(ravel.state, 1)(dense_states(jacobians, vectors, cut, reverse=reverse))

    def transpose(self, jacobians):
        return jacobians.mT

    def entries(self, state):
        return RealRavel(state).size ** 2


@dataclasses.dataclass(frozen=True)
class DiagonalJacobian(AbstractJacobian):
    """One number per entry of the state, for entries that do not read each other.

    Of a complex entry it is the complex derivative, so the update has one. The Jacobian is one
    forward derivative of the update, and a step costs O(n) for n entries.
    """

    def linearise(self, step, state):
        ones = jax.tree.map(jnp.ones_like, state)
        return jax.jvp(step, (state,), (ones,))

    def solve(self, jacobians, residuals, cut, *, reverse):
        def solve_leaf(a: Array, b: Array) -> Array:
            flags = cut
            if cut is not None:
                flags = jnp.broadcast_to(cut.reshape(-1, *[1] * (b.ndim - 1)), b.shape)
            return diagonal_states(
                a, b, jnp.zeros_like(b[0]), flags, reverse=reverse, schedule=in_chunks(CHUNK_SIZE)
            )

        return jax.tree.map(solve_leaf, jacobians, residuals)

    def transpose(self, jacobians):
        return jacobians

    def entries(self, state):
        return RealRavel(state).size


@dataclasses.dataclass(frozen=True)
class BlockJacobian(AbstractJacobian):
    """A k × k block per unit, for units whose state is k numbers and that do not read each other.

    The state h and c of an LSTM with diagonal recurrent weights has blocks of 2 × 2. The Jacobian
    is k forward derivatives of the update, and a step costs O(k³ n) for n units, where it is
    composed with others. Complex entries are as for `DiagonalJacobian`.

    Args:
        unit_axes: how many of the last axes of every array of the state count the units; the axes
            before them, and the arrays, lie within a unit. None is all axes. An array [2, n] whose
            columns are units has unit_axes=1.

    Raises:
        ValueError: for a number of axes below 1, and, when run, for a state whose arrays differ in
            their units or their precision.
    """

    unit_axes: int | None = None

    def __post_init__(self):
        if self.unit_axes is not None and not (
            isinstance(self.unit_axes, int) and self.unit_axes >= 1
        ):
            raise bad_input(
                f"BlockJacobian got unit_axes={self.unit_axes!r}.",
                "a whole number of at least 1, or None for all axes.",
                "count the last axes of the state that number its units.",
            )

    def linearise(self, step, state):
        self._check(state)
        rows = to_rows(state, 0, self.unit_axes)

        def advance(rows: Array) -> tuple[Array, State]:
            new = step(from_rows(rows, state, self.unit_axes))
            return to_rows(new, 0, self.unit_axes), new

        def column(unit: Array) -> tuple[Array, State]:
            _, moved, new = jax.jvp(advance, (rows,), (unit,), has_aux=True)
            return moved, new

        units = jnp.eye(len(rows), dtype=rows.dtype)[:, :, None] * jnp.ones_like(rows)
        blocks, new = jax.vmap(column, out_axes=(1, None))(units)
        return new, blocks

    def solve(self, jacobians, residuals, cut, *, reverse):
        rows = to_rows(residuals, 1, self.unit_axes)
        flags = None if cut is None else cut[:, None, None]
        solution = linear_states(
            (jacobians, rows, flags),
            jnp.zeros_like(rows[0]),
            reverse=reverse,
            schedule=in_chunks(CHUNK_SIZE, BLOCKS),
            structure=BLOCKS,
        )
        one = jax.tree.map(lambda leaf: leaf[0], residuals)
        return from_rows(solution, one, self.unit_axes)

    def transpose(self, jacobians):
        return BLOCKS.transpose(jacobians)

    def entries(self, state):
        self._check(state)
        rows, units = jax.eval_shape(lambda s: to_rows(s, 0, self.unit_axes), state).shape
        return rows * rows * units * (1 + any(map(jnp.iscomplexobj, jax.tree.leaves(state))))

    def _check(self, state: State) -> None:
        leaves = jax.tree.leaves(state)
        units = {
            (leaf.shape if self.unit_axes is None else leaf.shape[-self.unit_axes :], leaf.dtype)
            for leaf in leaves
        }
        if len(units) != 1 or min(leaf.ndim for leaf in leaves) < (self.unit_axes or 0):
            came = ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves)
            raise bad_input(
                f"{self!r} was declared for a state of {came}.",
                "arrays of one precision whose last axes, as many as unit_axes, are the same.",
                "let every array have an entry for each unit, or declare no structure.",
            )
