"""The laws of transformations: jit, vmap and grad of a cell's sequences against the loop."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import PyTree

from .._core.cell import AbstractCell
from .._core.method import AbstractMethod
from .._core.precision import keep_inexact
from .._unroll import unroll
from .comparison import LawBroken, NotTested
from .compiler import compiled
from .draws import BATCH, MASK, TIME, WITH_BOTH
from .gradients import values_and_vjp
from .reference_loop import SequenceFlags, run_reference, swap_time_and_batch
from .runs import RunOptions, StepInputs, Values, evaluate, without_states
from .subject import Subject

SHORT = 2  # steps that are enough for second derivatives through time


def compiled_once(subject: Subject) -> None:
    """Equal shapes compile once, also with the state that `unroll` returns."""
    run, traces = subject.halves
    xs = jax.tree.map(lambda leaf: leaf[:, 0], subject.xs)
    state = subject.cell.init_state()
    returned = run(subject.cell, state, xs)["final state"]
    for when, again in (("called again", state), ("called with the state it returned", returned)):
        run(subject.cell, again, xs)
        if len(traces) > 1:
            raise LawBroken(
                "compiled once",
                f"{when}, unroll was compiled a second time; what init_state and update return "
                "must have the same types, weak ones included, and static fields must equal "
                "themselves",
            )


def examples(subject: Subject) -> None:
    """`jax.vmap` over examples matches a batch axis, in both directions."""
    method = subject.methods[0]
    expected = {
        name: without_states(subject.reference(options, WITH_BOTH))
        for name, options in _directions(method).items()
    }
    subject.check_equal(
        "examples",
        lambda: _run_examples(subject, np.ones_like(MASK)),
        expected,
        f"with {method!r}, vmap over examples does not match a Python loop of single steps",
    )


def mask(subject: Subject) -> None:
    """A sequence with masked steps matches the sequence without them, in both directions."""
    method = subject.methods[0]
    expected = {
        name: _reference_without_masked(subject, reverse=options.reverse)
        for name, options in _directions(method).items()
    }
    subject.check_equal(
        "mask",
        lambda: _run_examples(subject, MASK),
        expected,
        f"with {method!r}, a masked run does not match a run without the masked steps",
    )


def _directions(method: AbstractMethod) -> dict[str, RunOptions]:
    return {"forward": RunOptions(method), "reverse": RunOptions(method, reverse=True)}


def _run_examples(subject: Subject, mask: np.ndarray) -> dict[str, dict[str, PyTree]]:
    """A run of each example by itself, under `jax.vmap`."""
    cotangents = subject.cotangents
    results = compiled(_evaluate_examples, 0)(
        subject.methods[0],
        subject.cell,
        subject.state,
        swap_time_and_batch(subject.xs),
        StepInputs(WITH_BOTH.lengths, WITH_BOTH.resets.T, mask.T),
        Values(cotangents.state, swap_time_and_batch(cotangents.outputs)),
    )
    results = jax.tree.map(np.asarray, results)
    for result in results.values():
        for name in ("ys", "gradient of xs"):
            result[name] = swap_time_and_batch(result[name])
        name = "gradient of the parameters"
        result[name] = jax.tree.map(lambda leaf: leaf.sum(0), result[name])
    return results


def _evaluate_examples(
    method: AbstractMethod, cell: AbstractCell, *examples: PyTree
) -> dict[str, dict[str, PyTree]]:
    def run(state: PyTree, xs: PyTree, steps: StepInputs, cotangents: Values) -> dict:
        return {
            name: without_states(evaluate(options, cell, state, xs, steps, cotangents))
            for name, options in _directions(method).items()
        }

    return jax.vmap(run)(*examples)


def _reference_without_masked(subject: Subject, *, reverse: bool) -> dict[str, PyTree]:
    """The loop over sequences from which the masked steps are removed."""
    valid = MASK & (np.arange(TIME)[:, None] < WITH_BOTH.lengths)
    order = np.argsort(~valid, axis=0, kind="stable")
    columns = np.arange(BATCH)

    def compact(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[order, columns], tree)

    def expand(tree: PyTree) -> PyTree:
        def scatter(leaf: np.ndarray) -> np.ndarray:
            result = np.zeros_like(leaf)
            result[order, columns] = leaf
            return result

        return jax.tree.map(scatter, tree)

    flags = SequenceFlags(" masked", valid.sum(0), compact(WITH_BOTH.resets))
    cotangents = subject.cotangents._replace(outputs=compact(subject.cotangents.outputs))
    results = without_states(
        run_reference(
            subject.cell,
            subject.state,
            compact(subject.xs),
            flags,
            cotangents,
            reverse=reverse,
        )
    )
    return results | {name: expand(results[name]) for name in ("ys", "gradient of xs")}


def _first_and_last(methods: tuple[AbstractMethod, ...]) -> tuple[AbstractMethod, ...]:
    """Two of the methods, since these transformations take long to compile."""
    return tuple(dict.fromkeys((methods[0], methods[-1])))


def ensembles(subject: Subject) -> None:
    """`jax.vmap` over parameters matches one cell after another."""
    if not jax.tree.leaves(keep_inexact(subject.cell)):
        raise NotTested("the cell has no parameters")
    members = [subject.cell, jax.tree.map(subject.near, subject.cell)]
    cells = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
    cells = jax.tree.map(jax.numpy.asarray, cells)
    cotangents = subject.cotangents._replace(states=None)
    results = [
        without_states(
            run_reference(cell, subject.state, subject.xs, WITH_BOTH, cotangents, reverse=False)
        )
        for cell in members
    ]
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *results)
    for method in _first_and_last(subject.methods):
        subject.check_equal(
            "ensembles",
            lambda m=method: jax.tree.map(
                np.asarray,
                compiled(_evaluate_members, 0)(
                    RunOptions(m),
                    cells,
                    subject.state,
                    subject.xs,
                    StepInputs(WITH_BOTH.lengths, WITH_BOTH.resets),
                    cotangents,
                ),
            ),
            expected,
            f"with {method!r}, vmap over parameters does not match one cell after another",
        )


def _evaluate_members(options: RunOptions, cells: AbstractCell, *args: PyTree) -> dict[str, PyTree]:
    return jax.vmap(lambda cell: without_states(evaluate(options, cell, *args)))(cells)


def second_order(subject: Subject) -> None:
    """The gradient of a gradient, reverse mode over reverse mode, is that of a Python loop."""
    d_state, d_ys, _ = subject.cotangents
    state, d_state = jax.tree.map(lambda leaf: leaf[0], (subject.state, d_state))
    xs, d_ys = jax.tree.map(lambda leaf: leaf[:SHORT, 0], (subject.xs, d_ys))
    second = jax.tree.map(subject.normal, keep_inexact((subject.cell, state, xs)))
    args = subject.cell, state, xs, (d_state, d_ys), second
    expected = compiled(_second_gradients, 0)(_unroll_by_hand, *args)
    for method in _first_and_last(subject.methods):
        subject.check_equal(
            "second order",
            lambda m=method: compiled(_second_gradients_of_method, 0)(m, *args),
            expected,
            f"with {method!r}, the gradient of a gradient is not that of a Python loop",
        )


def _unroll_by_hand(cell: AbstractCell, state: PyTree, xs: PyTree) -> tuple[PyTree, PyTree]:
    ys = []
    for t in range(SHORT):
        state, y = cell(state, jax.tree.map(lambda leaf, t=t: leaf[t], xs))
        ys.append(y)
    return state, jax.tree.map(lambda *steps: jax.numpy.stack(steps), *ys)


def _second_gradients_of_method(method: AbstractMethod, *args: PyTree) -> dict[str, PyTree]:
    return _second_gradients(functools.partial(unroll, method=method), *args)


def _second_gradients(
    run: Callable, cell: AbstractCell, state: PyTree, xs: PyTree, first: PyTree, second: PyTree
) -> dict[str, PyTree]:
    """The gradients of ⟨gradients of ⟨run, first⟩, second⟩."""

    def gradients(cell: AbstractCell, state: PyTree, xs: PyTree) -> tuple[PyTree, ...]:
        return values_and_vjp(run, lambda _: first, cell, state, xs)[1]

    _, (d_cell, d_state, d_xs) = values_and_vjp(gradients, lambda _: second, cell, state, xs)
    return {
        "gradient of the parameters": d_cell,
        "gradient of the state": d_state,
        "gradient of xs": d_xs,
    }
