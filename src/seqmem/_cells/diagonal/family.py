"""The diagonal family: linear recurrences with a diagonal matrix.

    s_t = a_t ∘ s_{t−1} + b_t    where a_t and b_t depend on the input alone

A cell writes `update` in any form; one `jax.jvp` of it gives a and b.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._core.batching import vmap_batch
from ..._core.cell import AbstractCell, project, update
from ..._core.errors import bad_input
from ..._core.family import Family, Law, PerPlatform, TransitionRule
from ..._core.perturbations import perturbation_values
from ..._core.problem import Drive, Problem, Solution, State, StepFlags
from ..._core.step import select
from ..._core.vjp_rule import AbstractVJPRule
from ..._methods import recurrence
from ..._methods.linear_scan.choice import kernel_schedule
from ..._methods.newton.jacobians import DiagonalJacobian
from ..._methods.parallel import Parallel
from ..._methods.readouts import has_known_time, outputs_of
from ..._methods.scan.reference import ReferenceScan
from ..._methods.scan.scan import Scan
from ..._methods.scan.vjp_rules import pull_through_updates, tiles_of_entries
from ..._methods.segments import last_state

CHUNK_SIZE = 16


def affine_map(cell: AbstractCell, drive: Drive, like: State) -> tuple[State, State]:
    """(a, b) with update(s, drive) = a ∘ s + b, for a state of the shapes of `like`."""
    zeros, ones = jax.tree.map(jnp.zeros_like, like), jax.tree.map(jnp.ones_like, like)
    b, a = jax.jvp(lambda state: update(cell, state, drive), (zeros,), (ones,))
    return a, b


class DiagonalTransition(NamedTuple):
    """s ↦ a ∘ s + b, or b alone where `cut` is set: one leaf of each for every leaf of the state.

    `cut` is None where there are no resets.
    """

    a: State
    b: State
    cut: State | None


def step_transition(
    init: State, cell: AbstractCell, x: PyTree, flags: StepFlags
) -> DiagonalTransition:
    """The transition of one step of one example, flags included."""
    a, b = affine_map(cell, project(cell, x, init), init)
    if flags.reset is not None:
        from_init = jax.tree.map(lambda a, b, s: a * s + b, a, b, init)
        b = select(flags.reset, from_init, b)
    if flags.perturbation is not None:
        b = jax.tree.map(jnp.add, b, perturbation_values(flags.perturbation))
    a = select(flags.padding, jax.tree.map(jnp.ones_like, a), a)
    b = select(flags.padding, jax.tree.map(jnp.zeros_like, b), b)
    if flags.reset is None:
        return DiagonalTransition(a, b, None)
    reset = flags.reset
    return DiagonalTransition(
        a, b, jax.tree.map(lambda leaf: jnp.broadcast_to(reset, leaf.shape), a)
    )


def _solve_in_parallel(problem: Problem, method: Parallel) -> Solution:
    if method.kernel:
        schedule = kernel_schedule(problem, method)
    else:
        schedule = recurrence.in_chunks(method.chunk_size or CHUNK_SIZE)
    if not has_known_time(problem):
        return Scan().run(problem)
    cell, axes = problem.cell, problem.batch_axes
    transitions = vmap_batch(
        functools.partial(step_transition, problem.init), cell, axes, time=True
    )
    a, b, cut = transitions(*problem.steps)
    solve = functools.partial(
        recurrence.diagonal_states, reverse=problem.reverse, schedule=schedule
    )
    cuts = () if cut is None else (cut,)
    states = jax.tree.map(solve, a, b, problem.state, *cuts)
    outputs = outputs_of(cell, states, problem.inputs, axes)
    final = last_state(states, reverse=problem.reverse)
    return Solution(final, outputs, states if problem.return_states else None)


def _transition_of(problem: Problem) -> DiagonalTransition:
    return recurrence.transition_of(problem, step_transition, _compose)


def _compose(first: DiagonalTransition, then: DiagonalTransition) -> DiagonalTransition:
    pairs = zip(_leaves(first), _leaves(then), strict=True)
    leaves = [recurrence.compose(*pair) for pair in pairs]
    structure = jax.tree.structure(first.a)
    a, b, cut = (structure.unflatten(parts) for parts in zip(*leaves, strict=True))
    return DiagonalTransition(a, b, None if first.cut is None else cut)


def _apply(transition: DiagonalTransition, state: State) -> State:
    leaves, structure = jax.tree.flatten(state)
    pairs = zip(_leaves(transition), leaves, strict=True)
    return structure.unflatten([recurrence.apply(*pair) for pair in pairs])


def _leaves(transition: DiagonalTransition) -> list[recurrence.AffineMap]:
    a, b = jax.tree.leaves(transition.a), jax.tree.leaves(transition.b)
    cut = [None] * len(a) if transition.cut is None else jax.tree.leaves(transition.cut)
    return list(zip(a, b, cut, strict=True))


@dataclasses.dataclass(frozen=True)
class DiagonalRule(AbstractVJPRule):
    """a_t depends on the input alone, so it is computed for a whole tile, and the backward loop is
    λ_{t−1} = a_t ∘ λ_t alone, where λ is the cotangent of the state.
    """

    saves_prepared = False

    def tile_sizes(self, batch, entries, platform):
        return tiles_of_entries(batch, entries, platform)

    def prepare(self, cell, state, drive, /):
        return drive

    def finish(self, cell, state, saved, /):
        return update(cell, state, saved)

    def linearise(self, tile):
        def factors(cell: AbstractCell, state: State, drive: Drive) -> State:
            return affine_map(cell, drive, state)[0]

        a = vmap_batch(factors, tile.cell, tile.batch_axes, time=True)(tile.states, tile.saved)
        return a, lambda a, d_state: (jax.tree.map(jnp.multiply, a, d_state), None)

    def pull_to_inputs(self, tile, d_states, pulled):
        return pull_through_updates(tile, d_states)


def _check(cell: AbstractCell, init: State) -> None:
    for path, leaf in jax.tree.leaves_with_path(init):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise bad_input(
                f"the state{jax.tree_util.keystr(path)} of {type(cell).__name__}, a diagonal cell, "
                f"is {leaf.dtype}.",
                "real or complex numbers, since update is s ↦ a ∘ s + b.",
                "use floating point, or derive the cell from AbstractCell, whose state may have "
                "integers.",
            )


def _equations(cell: AbstractCell, draws: Any) -> Iterator[tuple[str, PyTree, PyTree]]:
    drive = draws.drive()
    for scale in (1.0, 1000.0):
        state = draws.random_state(scale)
        a, b = affine_map(cell, drive, state)
        yield (
            "update(s, u) = a ∘ s + b with a and b functions of u alone",
            cell.update(state, drive),
            jax.tree.map(lambda a, s, b: a * s + b, a, state, b),
        )


DIAGONAL = Family(
    "diagonal",
    default=PerPlatform(cpu=Scan(), gpu=Parallel(), tpu=Parallel()),
    vjp_rule=DiagonalRule(),
    parallel=_solve_in_parallel,
    has_kernel=True,
    transition=TransitionRule(_transition_of, _compose, _apply),
    jacobian=DiagonalJacobian(),
    check=_check,
    methods=(Scan(), Parallel(chunk_size=3), Parallel(), Scan(tile=3), ReferenceScan()),
    laws=(Law(_equations),),
)
"""The family of `AbstractDiagonalCell`: the state moves linearly, entry by entry."""


class AbstractDiagonalCell(AbstractCell):
    """A cell with the promise that `update(s, u)` is a ∘ s + b, where a and b are functions of u.

    For a complex state the update is affine over the complex numbers (no conjugate, real part,
    imaginary part or absolute value of the state). Every leaf of the state is real or complex. The
    promise lets `Parallel` compute all states at once.
    """

    family = DIAGONAL
