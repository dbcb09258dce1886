"""Newton's method in time: a guess of all states of a block is put right by sweeps.

    r_t = advance(s_{t−1}, u_t) − s_t                what the guess is off by, for all t at once
    δ_t = J_t δ_{t−1} + r_t                          an affine recurrence, solved for all t at once
    s_t ← s_t + δ_t

until every r_t is small. k sweeps make at least the first k states exact, whatever J is; a good J
makes all of them right in a few. Sequences are mapped over, so the sweeps of one do not depend on
another: one that is done stays as it is.

Whatever found the states, their gradients are those of the recurrence: the backward pass of
`_methods/bptt.py`, with true Jacobians.
"""

import abc
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ..._core.cell import AbstractCell, Drive, Inputs, Marks, State, Zeros, over, select
from ..._core.errors import bad_input
from ..._wrappers.learned_state import with_states
from ..._core.batching import each, parts_of_examples
from ..._core.precision import precision
from ..._core.method import AbstractMethod
from ..blocks import scan_blocks, shifted
from ..scan.bptt import along, projected, show
from ..report import Stats, run_with_report
from ..scan.scan import Scan

SCAN = Scan()
ROUNDING = 16  # spacings of numbers at 1; rounding alone leaves residuals of 1 or 2


class AbstractSweeps(AbstractMethod):
    """A method that says what J is. Its fields are those of `seqmem.QuasiNewton`."""

    block: int | None
    tolerance: float | None
    max_iters: int
    fallback: AbstractMethod | None

    @abc.abstractmethod
    def lineariser(
        self, cell: AbstractCell, init: State, inputs: Inputs, batch_axes: int
    ) -> Callable[[State, Drive, Marks], tuple[State, Any]]:
        """How one step of one example is linearised: (s, u, marks) ↦ (advance(s, u), J).

        `inputs` are those of one block. Made once per block size, outside of the loops.
        """

    @abc.abstractmethod
    def solve(
        self, jacobians: Any, residuals: State, cut: Bool[Array, " time"] | None, *, reverse: bool
    ) -> State:
        """δ for all steps of one sequence; nothing passes where `cut` is set."""

    def run(self, cell, init, state, inputs, *, batch_axes, reverse):
        return run_with_report(
            self, cell, init, state, inputs, batch_axes=batch_axes, reverse=reverse
        )[:2]


def check_fields(method: AbstractSweeps) -> None:
    """Refuse settings that make no sense."""
    name = type(method).__name__
    for field, least in (("block", 1), ("max_iters", 1)):
        value = getattr(method, field)
        if value is None and field == "block":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise bad_input(
                f"{name}({field}={value!r}).",
                f"a whole number, at least {least}.",
                "leave it out for the default.",
            )
    if method.tolerance is not None and not method.tolerance > 0:
        raise bad_input(
            f"{name}(tolerance={method.tolerance!r}).",
            "a number above 0, or None.",
            "leave it out to have it chosen from the precision.",
        )
    other = method.fallback
    if other is not None and (not isinstance(other, AbstractMethod) or other.looks_at_borders):
        raise bad_input(
            f"{name}(fallback={other!r}).",
            "a method without a transform of the gradient, or None.",
            "leave it out for seqmem.Scan().",
        )


@run_with_report.register
def _(method: AbstractSweeps, cell, init, state, inputs, *, batch_axes, reverse):
    leaves = jax.tree.leaves(init)
    if not all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves):
        raise bad_input(
            f"{type(method).__name__} got a state {jax.tree.map(lambda leaf: leaf.dtype, init)}.",
            "floating point or complex entries alone, since it corrects them by derivatives.",
            "use method=seqmem.Scan(), which runs every cell.",
        )
    if not inputs.time or not leaves:
        states = jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape), leaf.dtype), state)
        return state, show(batch_axes, cell, states, inputs.x), None
    given = cell, init, state, inputs
    states, report = _found(
        method, *jax.lax.stop_gradient(given), batch_axes=batch_axes, reverse=reverse
    )
    states = along(states, *given, batch_axes=batch_axes, reverse=reverse)
    final = _last(states, reverse)
    return final, show(batch_axes, cell, states, inputs.x), report


def _found(
    method: AbstractSweeps, cell, init, state, inputs: Inputs, *, batch_axes: int, reverse: bool
) -> tuple[State, Stats]:
    """The states after each step and the report of each, [time, *batch, ...], block by block."""
    if isinstance(inputs.marks.perturbation, Zeros):
        inputs = inputs._replace(marks=inputs.marks._replace(perturbation=None))
    block = min(method.block or inputs.time, inputs.time)
    first = jax.tree.map(lambda leaf: leaf[:block], inputs)
    once = None if parts_of_examples(cell) else method.lineariser(cell, init, first, batch_axes)

    def alone(cell: AbstractCell, state: State, inputs: Inputs) -> tuple[State, Stats]:
        linear = once or method.lineariser(cell, init, first, batch_axes)
        return _swept(method, linear, cell, init, state, inputs, reverse=reverse)

    swept = each(alone, cell, batch_axes, in_axes=(0, 1), out_axes=1)

    def body(state: State, inputs: Inputs, _: None) -> tuple[State, tuple[State, Stats]]:
        states, report = swept(state, inputs)
        if method.fallback is not None:
            run = functools.partial(method.fallback.run, batch_axes=batch_axes, reverse=reverse)

            def rescued() -> State:
                right = run(with_states(cell), init, state, inputs)[1][1]
                return over(select, 1 + batch_axes)(report.converged, states, right)

            states = jax.lax.cond(report.converged.all(), lambda: states, rescued)
        return _last(states, reverse), (states, report)

    return scan_blocks(body, state, inputs, block, time=inputs.time, reverse=reverse)[1]


def _last(states: State, reverse: bool) -> State:
    return jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states)


def _swept(
    method: AbstractSweeps, linear: Callable, cell, init, state, inputs: Inputs, *, reverse: bool
) -> tuple[State, Stats]:
    """The states of one block of one sequence."""
    x, marks = inputs
    drives = projected(0, cell, state, x)
    tolerance = method.tolerance or _floor(cell, init)

    def guess(own: Array, given: Array) -> Array:
        given = jnp.where(jnp.isfinite(given), given, own)
        return jnp.broadcast_to(given, (inputs.time, *given.shape))

    def sweep(carry):
        states, sweeps, _, _ = carry
        before = shifted(state, states, reverse=reverse)
        new, jacobians = over(linear, 1)(before, drives, marks)
        done = _agree(states, new, tolerance)
        stop = done | (sweeps == method.max_iters)
        residuals = jax.tree.map(jnp.subtract, new, states)
        steps = method.solve(jacobians, residuals, marks.reset, reverse=reverse)
        better = jax.tree.map(_corrected, states, steps, new)
        return select(stop, states, better), jnp.where(stop, sweeps, sweeps + 1), done, stop

    no = jnp.zeros((), bool)
    begun = jax.tree.map(guess, init, state), jnp.zeros((), jnp.int32), no, no
    states, sweeps, done, _ = jax.lax.while_loop(lambda carry: ~carry[-1], sweep, begun)
    report = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, inputs.time), Stats(done, sweeps))
    return states, report


def _corrected(state: Array, step: Array, new: Array) -> Array:
    """The plain update of the guess where the correction overflows, so that one entry that does
    cannot spoil all that come after it.
    """
    better = state + step
    return jnp.where(jnp.isfinite(better), better, new)


def _agree(states: State, new: State, tolerance: float) -> Bool[Array, ""]:
    """Whether max |new − states| ≤ tolerance · (1 + max |states|); NaN agrees with NaN."""
    wide = precision(states)
    apart = size = jnp.zeros((), wide)
    for old, now in zip(jax.tree.leaves(states), jax.tree.leaves(new), strict=True):
        same = (old == now) | (jnp.isnan(old) & jnp.isnan(now))
        gap = jnp.where(same, 0, jnp.abs(now - old)).max(initial=0)
        apart = jnp.maximum(apart, gap.astype(wide))
        finite = jnp.where(jnp.isfinite(old), jnp.abs(old), 0).max(initial=0)
        size = jnp.maximum(size, finite.astype(wide))
    return apart <= tolerance * (1 + size)


def _floor(cell: AbstractCell, init: State) -> float:
    """What rounding alone may leave. Parameters that are narrower than the state round it to their
    own digits, where the update is a staircase that no derivative sees.
    """
    own, wide = precision(cell), jnp.finfo(precision(init)).eps
    return max(ROUNDING * float(wide), 0.0 if own is None else float(jnp.finfo(own).eps))
