"""Newton iterations over all states of a chunk (DEER).

    r_t = advance(s_{t−1}, u_t) − s_t                the residual of the current states
    δ_t = J_t δ_{t−1} + r_t                          an affine recurrence, solved for all t at once
    s_t ← s_t + δ_t

until every r_t is small, and once more if every δ_t is small then. k iterations make at least the
first k states exact, whatever J is; a good J needs a few for all. Sequences are mapped over, so the
iterations of one do not depend on another: one that has converged does not change.

Whatever found the states, their gradients are those of the recurrence, with exact Jacobians.
"""

import abc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ..._core.batching import per_example_parts, vmap_axes, vmap_batch
from ..._core.cell import AbstractCell
from ..._core.errors import bad_input
from ..._core.jacobian import AbstractJacobian
from ..._core.method import AbstractMethod
from ..._core.perturbations import ZeroPerturbations
from ..._core.precision import precision
from ..._core.problem import Drive, Problem, Solution, State, Stats, StepFlags
from ..._core.step import advance, select
from ..._core.validation import check_count, check_positive
from ..readouts import drives_of, has_steps, outputs_of, solve_without_steps
from ..scan.implicit import STEP_BY_STEP, Adjoint, differentiate_along_recurrence
from ..scan.scan import Scan
from ..segments import last_state, previous_states, scan_segments
from .adjoint import ParallelAdjoint
from .jacobians import declared_jacobian

SCAN = Scan()
ROUNDING = 16  # spacings of numbers at 1; rounding alone leaves residuals of 1 or 2


class AbstractNewton(AbstractMethod):
    """A Newton method that says what J is. Its fields are those of `seqmem.QuasiNewton`."""

    chunk_size: int | None
    tolerance: float | None
    max_iters: int
    fallback: AbstractMethod | None

    @abc.abstractmethod
    def lineariser(
        self, problem: Problem
    ) -> Callable[[State, Drive, StepFlags], tuple[State, Any]]:
        """How one step of one example is linearised: (s, u, flags) ↦ (advance(s, u), J).

        The problem is that of one chunk. Made once, outside of the loops.
        """

    @abc.abstractmethod
    def solve_linear(self, problem: Problem, jacobians: Any, residuals: State) -> State:
        """δ for all steps of a chunk of one sequence; nothing passes a reset."""

    def run(self, problem):
        leaves = jax.tree.leaves(problem.init)
        if not all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves):
            dtypes = sorted({str(leaf.dtype) for leaf in leaves})
            raise bad_input(
                f"{type(self).__name__} got a state with entries of {', '.join(dtypes)}.",
                "real or complex numbers alone, since it corrects them by derivatives.",
                "use method=seqmem.Scan(), which runs every cell.",
            )
        if not has_steps(problem):
            return solve_without_steps(problem)
        states, stats = _find_states(self, jax.lax.stop_gradient(problem))
        states = differentiate_along_recurrence(problem, states, self._adjoint(problem))
        outputs = outputs_of(problem.cell, states, problem.inputs, problem.batch_axes)
        final = last_state(states, reverse=problem.reverse)
        return Solution(final, outputs, states if problem.return_states else None, stats)

    def _adjoint(self, problem: Problem) -> Adjoint:
        structure = declared_jacobian(problem.cell)
        if structure is None:
            return STEP_BY_STEP
        return Adjoint(ParallelAdjoint(structure), self.chunk_size or problem.time)


def linearise_by(
    structure: AbstractJacobian, problem: Problem
) -> Callable[[State, Drive, StepFlags], tuple[State, Any]]:
    """The lineariser whose Jacobians have that structure."""

    def linear(state: State, drive: Drive, flags: StepFlags) -> tuple[State, Any]:
        def step(state: State) -> State:
            return advance(problem.cell, problem.init, state, drive, flags)

        return structure.linearise(step, state)

    return linear


def check_fields(method: AbstractNewton) -> None:
    """Refuse settings out of range.

    Raises:
        ValueError: for the first of them.
    """
    name, remedy = type(method).__name__, "leave it out for the default."
    if method.chunk_size is not None:
        check_count(name, "chunk_size", method.chunk_size, remedy=remedy)
    check_count(name, "max_iters", method.max_iters, remedy=remedy)
    if method.tolerance is not None:
        check_positive(
            name, "tolerance", method.tolerance, remedy="leave it out for the precision's own."
        )
    fallback = method.fallback
    if fallback is not None and (
        not isinstance(fallback, AbstractMethod) or fallback.needs_step_index
    ):
        raise bad_input(
            f"{name} got fallback={fallback!r}.",
            "a method that does not transform gradients, or None.",
            "leave it out for seqmem.Scan().",
        )


def _find_states(method: AbstractNewton, problem: Problem) -> tuple[State, Stats]:
    """The states after each step and the statistics of each, [time, *batch, ...]."""
    if isinstance(problem.flags.perturbation, ZeroPerturbations):
        problem = problem.replace(flags=problem.flags._replace(perturbation=None))
    chunk_size = min(method.chunk_size or problem.time, problem.time)
    inputs, flags = jax.tree.map(lambda leaf: leaf[:chunk_size], problem.steps)
    first = problem.replace(inputs=inputs, flags=flags)
    shared = None if per_example_parts(problem.cell) else method.lineariser(first)

    def solve_one(cell: AbstractCell, state: State, steps: tuple) -> tuple[State, Stats]:
        linear = shared or method.lineariser(first.replace(cell=cell))
        inputs, flags = steps
        one = problem.replace(cell=cell, state=state, inputs=inputs, flags=flags, batch_axes=0)
        return _iterate(method, linear, one)

    solve = vmap_batch(solve_one, problem.cell, problem.batch_axes, in_axes=(0, 1), out_axes=1)

    def body(state: State, segment: tuple) -> tuple[State, tuple[State, Stats]]:
        (inputs, flags), _ = segment
        states, stats = solve(state, (inputs, flags))
        if method.fallback is not None:
            chunk = problem.replace(state=state, inputs=inputs, flags=flags, return_states=True)
            states = _repair(method.fallback, chunk, states, stats)
        return last_state(states, reverse=problem.reverse), (states, stats)

    return scan_segments(body, problem.state, problem.steps, chunk_size, reverse=problem.reverse)[1]


def _repair(fallback: AbstractMethod, problem: Problem, states: State, stats: Stats) -> State:
    """The states, those of sequences that did not converge computed by another method."""

    def run_fallback() -> State:
        correct = fallback.run(problem).states
        return vmap_axes(select, 1 + problem.batch_axes)(stats.converged, states, correct)

    return jax.lax.cond(stats.converged.all(), lambda: states, run_fallback)


def _iterate(method: AbstractNewton, linear: Callable, problem: Problem) -> tuple[State, Stats]:
    """The states of one chunk of one sequence."""
    time, reverse = problem.time, problem.reverse
    drives = drives_of(problem.cell, problem.state, problem.inputs, 0)
    tolerance = method.tolerance or _rounding(problem)

    def initial_guess(init: Array, state: Array) -> Array:
        state = jnp.where(jnp.isfinite(state), state, init)
        return jnp.broadcast_to(state, (time, *state.shape))

    def iterate(carry: tuple) -> tuple:
        states, iterations, _, _ = carry
        before = previous_states(problem.state, states, reverse=reverse)
        updated, jacobians = vmap_axes(linear, 1)(before, drives, problem.flags)
        converged = _agree(states, updated, tolerance)
        is_done = converged | (iterations == method.max_iters)
        residuals = jax.tree.map(jnp.subtract, updated, states)
        steps = method.solve_linear(problem, jacobians, residuals)
        corrected = jax.tree.map(_correct, states, steps, updated)
        # The last correction makes numbers far below 1 exact too. It is not made where it is larger
        # than the tolerance: then it has grown over time, beyond where J describes the step.
        is_made = ~is_done | (converged & _agree(states, corrected, tolerance))
        states = select(is_made, corrected, states)
        return states, jnp.where(is_done, iterations, iterations + 1), converged, is_done

    no = jnp.zeros((), bool)
    guess = jax.tree.map(initial_guess, problem.init, problem.state)
    states, iterations, converged, _ = jax.lax.while_loop(
        lambda carry: ~carry[-1], iterate, (guess, jnp.zeros((), jnp.int32), no, no)
    )
    stats = Stats(converged, iterations)
    return states, jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, time), stats)


def _correct(state: Array, step: Array, updated: Array) -> Array:
    """The plain update where the correction overflows, so that one entry that does cannot spoil all
    that come after it.
    """
    corrected = state + step
    return jnp.where(jnp.isfinite(corrected), corrected, updated)


def _agree(states: State, updated: State, tolerance: float) -> Bool[Array, ""]:
    """Whether max |updated − states| ≤ tolerance · (1 + max |states|); NaN agrees with NaN."""
    dtype = precision(states)
    distance = size = jnp.zeros((), dtype)
    for old, new in zip(jax.tree.leaves(states), jax.tree.leaves(updated), strict=True):
        is_same = (old == new) | (jnp.isnan(old) & jnp.isnan(new))
        gap = jnp.where(is_same, 0, jnp.abs(new - old))
        gap = jnp.where(jnp.isnan(gap), jnp.inf, gap).max(initial=0)  # max may ignore a NaN
        distance = jnp.maximum(distance, gap.astype(dtype))
        finite = jnp.where(jnp.isfinite(old), jnp.abs(old), 0).max(initial=0)
        size = jnp.maximum(size, finite.astype(dtype))
    return distance <= tolerance * (1 + size)


def _rounding(problem: Problem) -> float:
    """What rounding alone may leave. Parameters that are narrower than the state round it to their
    own digits, where the update is a staircase that no derivative sees.
    """
    narrow, wide = precision(problem.cell), jnp.finfo(precision(problem.init)).eps
    return max(ROUNDING * float(wide), 0.0 if narrow is None else float(jnp.finfo(narrow).eps))
