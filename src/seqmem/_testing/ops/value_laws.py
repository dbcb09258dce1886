"""The laws of values and gradients: every length of time, in one piece and in two."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ..comparison import largest_difference
from .arrays import in_float64
from .case import Case
from .functions import Values
from .subject import Broken, NotOffered, OpSubject


def values(subject: OpSubject) -> None:
    """The outputs, without an initial state, match single steps."""
    subject.check(
        [subject.case(has_state=False)],
        "the outputs are not those of single steps",
        only=subject.op.output_name,
    )


def initial_state(subject: OpSubject) -> None:
    """The outputs from an initial state match single steps from it."""
    if not subject.op.initial_state:
        raise NotOffered("there is no argument initial_state")
    subject.check(
        [subject.case()],
        "the outputs from an initial state are not those of single steps",
        only=subject.op.output_name,
    )


def final_state(subject: OpSubject) -> None:
    """The final state matches single steps, with and without an initial state."""
    if not subject.op.final_state:
        raise NotOffered("it returns no final state")
    cases = [subject.case(has_state=False), subject.case()]
    subject.check(cases, "the final state is not that of single steps", only="final state")


def gradients(subject: OpSubject) -> None:
    """The gradient of each input matches the chain rule over single steps."""
    if not subject.runner.has_gradients:
        raise NotOffered("the NumpyFunction has no vjp")
    cases = [subject.case(has_state=False), subject.case()]
    wrong = {
        name
        for case in cases
        for name in subject.results(case)
        if name.startswith("gradient of") and subject.compare(case, [name])
    }
    try:
        subject.check(cases, "the gradients are not those of single steps", only="gradient of")
    finally:
        subject.wrong_gradients = wrong  # the other laws judge the other results


def one_step(subject: OpSubject) -> None:
    """A sequence of one step matches a single step."""
    if not subject.op.has_reference:
        raise NotOffered("a single step is the function itself, since no step was given")
    if not subject.op.any_length:
        raise NotOffered("the time has to be a multiple of the chunk")
    subject.check([subject.case(1)], "a sequence of one step is not a single step")


def any_length(subject: OpSubject) -> None:
    """Times that are no multiples of the chunk match single steps."""
    if not subject.op.any_length:
        raise NotOffered("the time has to be a multiple of the chunk")
    chunk = subject.chunk
    times = dict.fromkeys((chunk - 1, chunk + 1, 2 * chunk + 3))
    subject.check(
        [subject.case(time) for time in times],
        f"a time that is no multiple of {chunk} does not match single steps",
    )


def long_time(subject: OpSubject) -> None:
    """A long sequence matches single steps."""
    subject.check([subject.case(subject.long_time)], "a long sequence does not match single steps")


def splitting(subject: OpSubject) -> None:
    """Two calls with the parts of a sequence, the state carried, match one call."""
    op = subject.op
    if not (op.initial_state and op.final_state):
        raise NotOffered("a state cannot be carried from one call to the next")
    case, chunk = subject.case(), subject.chunk
    full_run = subject.results(case)
    points = (1, chunk - 1, chunk) if op.any_length else (chunk,)
    for point in dict.fromkeys(points):
        parts = _run_in_two(subject, case, point)
        parts = {n: tree for n, tree in parts.items() if n not in subject.wrong_gradients}
        expected = {name: full_run[name] for name in parts}
        difference = largest_difference(in_float64(parts), in_float64(expected), op.tolerance(case))
        if difference:
            raise Broken(
                case,
                f"{point} steps and then the rest, the state carried, are not one run of all; "
                f"{difference}",
            )


def _run_in_two(subject: OpSubject, case: Case, point: int) -> dict[str, PyTree]:
    """The results of one call, by two calls and the chain rule."""
    op, draw = subject.op, subject.draw(case)
    head, tail = subject.case(point), subject.case(case.time - point)
    d_outputs, d_state = draw.cotangents

    def part(tree: PyTree, steps: slice) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[steps], tree)

    def inputs(steps: slice, state: Any) -> dict[str, PyTree]:
        of_steps = {name: part(draw.inputs[name], steps) for name in op.step_names}
        return draw.inputs | of_steps | {op.state_name: state}

    first, rest = slice(None, point), slice(point, None)
    state = draw.inputs[op.state_name]
    # The first part runs twice: its final state starts the second, whose gradient it then needs.
    middle = subject.state_after(head, inputs(first, state))
    two = subject.evaluate(tail, inputs(rest, middle), Values(part(d_outputs, rest), d_state))
    d_middle = two.get(f"gradient of {op.state_name}")
    d_state = d_state if d_middle is None else op.unscaled_cotangents(d_middle, middle)
    one = subject.evaluate(head, inputs(first, state), Values(part(d_outputs, first), d_state))
    results = {"final state": two["final state"]}
    for name in one:
        if name == op.output_name or name.removeprefix("gradient of ") in op.step_names:
            results[name] = jax.tree.map(lambda a, b: np.concatenate([a, b]), one[name], two[name])
        elif name == f"gradient of {op.state_name}":
            results[name] = one[name]
        elif name.startswith("gradient of "):
            results[name] = jax.tree.map(np.add, one[name], two[name])
    return results
