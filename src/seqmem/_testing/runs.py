"""One run of a sequence: its options, its values and its gradients."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from .._core.cell import AbstractCell
from .._core.method import AbstractMethod
from .._core.problem import Output, State
from .._unroll import solve
from .gradients import values_and_vjp


class RunOptions(NamedTuple):
    """How a sequence is run.

    Attributes:
        method: the method.
        remat_every: as for `unroll`.
        reverse: as for `unroll`.
        return_states: as for `solve`.
        has_flags: whether lengths, resets and perturbations are given; without them the run starts
            from the initial state, which all examples share.
    """

    method: AbstractMethod
    remat_every: int | None = None
    reverse: bool = False
    return_states: bool = False
    has_flags: bool = True

    def __str__(self) -> str:
        words = [repr(self.method)]
        if self.remat_every is not None:
            words.append(f"remat_every={self.remat_every}")
        if self.reverse:
            words.append("reverse=True")
        return ", ".join(words)


class StepInputs(NamedTuple):
    """The optional arguments of `solve` that describe the steps."""

    lengths: Int[Array | np.ndarray, "*batch"] | None = None
    resets: Bool[Array | np.ndarray, "time *batch"] | None = None
    mask: Bool[Array | np.ndarray, "time *batch"] | None = None
    perturbations: State | None = None


class Values(NamedTuple):
    """The values of a run, or their cotangents."""

    state: State
    outputs: Output
    states: State | None = None


def both_directions(methods: Sequence[AbstractMethod]) -> list[tuple[RunOptions, RunOptions]]:
    """Every method forward and in reverse, with and without `remat_every`.

    No segment but that of 1 step divides the time. One step compiles fastest; a method with tiles
    or chunks gets segments that are longer than these.
    """
    pairs = []
    for i, method in enumerate(methods):
        if i and not (getattr(method, "tile", None) or getattr(method, "chunk_size", None)):
            pairs.append((RunOptions(method, remat_every=1), RunOptions(method, reverse=True)))
        else:
            reverse = RunOptions(method, remat_every=5 if i else 3, reverse=True)
            pairs.append((RunOptions(method), reverse))
    return pairs


def evaluate(
    options: RunOptions,
    cell: AbstractCell,
    state: State,
    xs: PyTree,
    steps: StepInputs,
    cotangents: Values,
) -> dict[str, Any]:
    """All values and gradients of a run; the keys are the words of a message."""

    def run(cell: AbstractCell, state: State, xs: PyTree, perturbations: State | None) -> Values:
        solution = solve(
            cell,
            state if options.has_flags else cell.init_state(),
            xs,
            lengths=steps.lengths,
            mask=steps.mask,
            resets=steps.resets,
            perturbations=perturbations,
            reverse=options.reverse,
            method=options.method,
            remat_every=options.remat_every,
            return_states=options.return_states,
        )
        return Values(solution.state, solution.outputs, solution.states)

    values, (d_cell, d_state, d_xs, d_perturbations) = values_and_vjp(
        run, lambda _: cotangents, cell, state, xs, steps.perturbations
    )
    return {
        "ys": values.outputs,
        "final state": values.state,
        "states": values.states,
        "gradient of the parameters": d_cell,
        "gradient of the state": d_state,
        "gradient of xs": d_xs,
        "gradient of the states": d_perturbations,
    }


PER_STATE = ("states", "gradient of the states")


def without_states(results: dict[str, PyTree]) -> dict[str, PyTree]:
    """All but the states of the steps and their gradients, which have laws of their own."""
    return {name: tree for name, tree in results.items() if name not in PER_STATE}
