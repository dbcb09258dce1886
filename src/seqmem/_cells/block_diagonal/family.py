"""The block-diagonal family: linear recurrences whose matrix has small blocks along its diagonal.

    s_t = A_t s_{t−1} + b_t    where A_t and b_t depend on the input alone

The state is k arrays of one shape, and a block is what happens at one place of all of them: array i
of the next state is Σ_j A_ij ∘ (array j) + b_i. A cell writes `update` in any form; k directional
derivatives of it give A and b. Nothing is diagonalised: a block may have equal eigenvalues, where a
change of basis would be singular and its gradient infinite.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.batching import vmap_batch
from ..._core.cell import AbstractCell, project, update
from ..._core.errors import bad_input
from ..._core.family import Family, Law, PerPlatform, TransitionRule
from ..._core.perturbations import perturbation_values
from ..._core.problem import Drive, Problem, Solution, State, StepFlags
from ..._core.rows import from_rows, to_rows
from ..._core.step import select
from ..._core.vjp_rule import AbstractVJPRule
from ..._methods import recurrence
from ..._methods.newton.jacobians import BlockJacobian
from ..._methods.parallel import Parallel
from ..._methods.readouts import has_known_time, outputs_of
from ..._methods.recurrence import BLOCKS, AffineMap
from ..._methods.scan.reference import ReferenceScan
from ..._methods.scan.scan import Scan
from ..._methods.scan.vjp_rules import pull_through_updates, tiles_of_entries
from ..._methods.segments import last_state

CHUNK_SIZE = 16
JACOBIAN = BlockJacobian()


def affine_map(cell: AbstractCell, drive: Drive, like: State) -> tuple[Array, Array]:
    """(A, b) with update(s, drive) = A s + b: [k, k, n] and [k, n], for a state like `like`."""
    zeros = jax.tree.map(jnp.zeros_like, like)
    b, A = JACOBIAN.linearise(lambda state: update(cell, state, drive), zeros)
    return A, to_rows(b)


def step_transition(init: State, cell: AbstractCell, x: PyTree, flags: StepFlags) -> AffineMap:
    """The transition of one step of one example, flags included."""
    A, b = affine_map(cell, project(cell, x, init), init)
    if flags.reset is not None:
        b = select(flags.reset, BLOCKS.times(A, to_rows(init)) + b, b)
    if flags.perturbation is not None:
        b = b + to_rows(perturbation_values(flags.perturbation))
    identity = jnp.eye(len(A), dtype=A.dtype)[:, :, None] * jnp.ones_like(A)
    A = select(flags.padding, identity, A)
    b = select(flags.padding, jnp.zeros_like(b), b)
    return A, b, None if flags.reset is None else jnp.broadcast_to(flags.reset, (1, 1))


def _solve_in_parallel(problem: Problem, method: Parallel) -> Solution:
    if not has_known_time(problem):
        return Scan().run(problem)
    cell, axes = problem.cell, problem.batch_axes
    transitions = vmap_batch(
        functools.partial(step_transition, problem.init), cell, axes, time=True
    )
    rows = recurrence.linear_states(
        transitions(*problem.steps),
        to_rows(problem.state, axes),
        reverse=problem.reverse,
        schedule=recurrence.in_chunks(method.chunk_size or CHUNK_SIZE, BLOCKS),
        structure=BLOCKS,
    )
    states = from_rows(rows, problem.init)
    outputs = outputs_of(cell, states, problem.inputs, axes)
    final = last_state(states, reverse=problem.reverse)
    return Solution(final, outputs, states if problem.return_states else None)


def _transition_of(problem: Problem) -> AffineMap:
    return recurrence.transition_of(problem, step_transition, _compose)


def _compose(first: AffineMap, then: AffineMap) -> AffineMap:
    return recurrence.compose(first, then, BLOCKS)


def _apply(transition: AffineMap, state: State) -> State:
    axes = transition[1].ndim - 2
    rows = recurrence.apply(transition, to_rows(state, axes), BLOCKS)
    return from_rows(rows, _one_of(state, axes))


def _one_of(state: State, axes: int) -> State:
    """The shapes of one state, of a state with `axes` axes in front."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[axes:], leaf.dtype), state)


@dataclasses.dataclass(frozen=True)
class BlockRule(AbstractVJPRule):
    """A_t depends on the input alone, so it is computed for a whole tile, and the backward loop is
    λ_{t−1} = A_tᵀ λ_t alone, where λ is the cotangent of the state.
    """

    saves_prepared = False

    def tile_sizes(self, batch, entries, platform):
        return tiles_of_entries(batch, entries, platform)

    def prepare(self, cell, state, drive, /):
        return drive

    def finish(self, cell, state, saved, /):
        return update(cell, state, saved)

    def linearise(self, tile):
        def blocks(cell: AbstractCell, state: State, drive: Drive) -> Array:
            return BLOCKS.transpose(affine_map(cell, drive, state)[0])

        A = vmap_batch(blocks, tile.cell, tile.batch_axes, time=True)(tile.states, tile.saved)
        axes = tile.batch_axes

        def pull(A: Array, d_state: State) -> tuple[State, None]:
            rows = BLOCKS.times(A, to_rows(d_state, axes))
            return from_rows(rows, _one_of(d_state, axes)), None

        return A, pull

    def pull_to_inputs(self, tile, d_states, pulled):
        return pull_through_updates(tile, d_states)


def _check(cell: AbstractCell, init: State) -> None:
    kinds = {(leaf.shape, jnp.result_type(leaf)) for leaf in jax.tree.leaves(init)}
    if len(kinds) != 1 or not jnp.issubdtype(next(iter(kinds))[1], jnp.inexact):
        came = ", ".join(f"{dtype}{list(shape)}" for shape, dtype in sorted(kinds, key=str))
        raise bad_input(
            f"the state of {type(cell).__name__}, a block-diagonal cell, is {came or 'empty'}.",
            "real or complex arrays of one shape and precision, whose blocks lie across them.",
            "give the arrays one shape, or derive the cell from AbstractDiagonalCell, whose arrays "
            "do not depend on each other, or from AbstractCell.",
        )


def _equations(cell: AbstractCell, draws: Any) -> Iterator[tuple[str, PyTree, PyTree]]:
    drive = draws.drive()
    for scale in (1.0, 1000.0):
        state = draws.random_state(scale)
        A, b = affine_map(cell, drive, state)
        yield (
            "update(s, u) = A s + b with A and b functions of u alone, and A between entries of "
            "the same place alone",
            cell.update(state, drive),
            from_rows(BLOCKS.times(A, to_rows(state)) + b, state),
        )


BLOCK_DIAGONAL = Family(
    "block-diagonal",
    default=PerPlatform(cpu=Scan(), gpu=Parallel(), tpu=Parallel()),
    vjp_rule=BlockRule(),
    parallel=_solve_in_parallel,
    transition=TransitionRule(_transition_of, _compose, _apply),
    jacobian=JACOBIAN,
    check=_check,
    methods=(Scan(), Parallel(chunk_size=3), Parallel(), Scan(tile=3), ReferenceScan()),
    laws=(Law(_equations),),
)
"""The family of `AbstractBlockDiagonalCell`: the state moves linearly, block by block."""


class AbstractBlockDiagonalCell(AbstractCell):
    """A cell with the promise that `update(s, u)` is A s + b, where A and b are functions of u, and
    A has small blocks along its diagonal.

    The state is a few arrays of one shape and precision, and an entry of the next state depends on
    the entries of the same place of all of them: on one block. The promise lets `Parallel` compute
    all states at once, and holds for every block, also where its eigenvalues are equal.
    """

    family = BLOCK_DIAGONAL
