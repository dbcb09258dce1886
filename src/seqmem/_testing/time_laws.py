"""The laws of time: every method, forward and in reverse, against the loop and against itself."""

import jax
import numpy as np
from jaxtyping import PyTree

from .comparison import EXACT, LawBroken, largest_difference, not_finite
from .draws import (
    BATCH,
    FULL_LENGTHS,
    LENGTHS,
    NO_RESETS,
    PLAIN,
    TIME,
    WITH_BOTH,
    WITH_LENGTHS,
    WITH_RESETS,
)
from .reference_loop import SequenceFlags
from .runs import RunOptions, Values, without_states
from .subject import Subject
from .trees import example_of, extreme_like, flip_valid, keep_steps, replace_steps, with_nan

CUT = 3
CUT_RESETS = NO_RESETS.copy()
CUT_RESETS[CUT] = True
PADDING = np.arange(TIME)[:, None] >= LENGTHS


def methods(subject: Subject) -> None:
    """Every method, with and without `remat_every`, matches a Python loop of single steps."""
    place = not_finite(subject.reference(subject.options[0], PLAIN))
    if place:
        raise LawBroken("finite", f"after {TIME} random inputs {place}")
    for options in (RunOptions(subject.methods[0], has_flags=False), *subject.options):
        _check_against_loop(subject, "methods", options, PLAIN)


def lengths(subject: Subject) -> None:
    """A padded sequence matches the sequence without its padding, which outputs 0."""
    for options in subject.options:
        _check_against_loop(subject, "lengths", options, WITH_LENGTHS)
        results = subject.run(options, WITH_LENGTHS)
        for name in ("ys", "gradient of xs"):
            # −0.0 is 0 too.
            padded = jax.tree.map(lambda leaf: leaf + 0, keep_steps(results[name], PADDING))
            _check_bits(
                "lengths",
                {name: padded},
                {name: jax.tree.map(np.zeros_like, padded)},
                f"with {options}, padded steps are not exactly 0",
            )
        empty = LENGTHS.tolist().index(0)
        _check_bits(
            "lengths",
            {"final state": example_of(results["final state"], empty)},
            {"final state": example_of(subject.state, empty)},
            f"with {options}, a sequence of length 0 does not return its state",
        )
        _check_bits(
            "lengths",
            {"gradient of the state": example_of(results["gradient of the state"], empty)},
            {"gradient of the state": example_of(subject.cotangents.state, empty)},
            f"with {options}, a sequence of length 0 does not return the gradient of its state",
        )


def resets(subject: Subject) -> None:
    """After a reset nothing depends on earlier steps, not even on NaN."""
    cut = SequenceFlags(" with one reset", FULL_LENGTHS, CUT_RESETS)
    other = subject.inputs(TIME, BATCH)
    for options in subject.options:
        is_before = np.arange(TIME) >= CUT if options.reverse else np.arange(TIME) < CUT
        expected = _after_reset(subject.run(options, cut), ~is_before)
        changes = {
            "inputs before it": {"xs": replace_steps(subject.xs, is_before, other)},
            "a NaN before it": {
                "xs": with_nan(subject.xs, is_before),
                "state": with_nan(subject.state, slice(None)),
            },
        }
        for name, change in changes.items():
            subject.check_equal(
                "resets",
                lambda o=options, c=change, b=is_before: _after_reset(subject.run(o, cut, **c), ~b),
                expected,
                f"with {options}, a step after a reset still depends on {name}",
            )
        for flags in (WITH_RESETS, WITH_BOTH):
            _check_against_loop(subject, "resets", options, flags)


def padding(subject: Subject) -> None:
    """The values of padding change no bit of any output, state or gradient."""
    for options in subject.options:
        expected = subject.run(options, WITH_BOTH)
        for name, number in {"NaN": np.nan, "inf": np.inf, "1e300": 1e300}.items():
            xs = jax.tree.map(
                lambda leaf, n=number: replace_steps(leaf, PADDING, extreme_like(leaf, n)),
                subject.xs,
            )
            _check_bits(
                "padding",
                subject.run(options, WITH_BOTH, xs=xs),
                expected,
                f"with {options}, {name} in the padding is not without effect",
            )


def reverse(subject: Subject) -> None:
    """A run in reverse matches a forward run of the flipped valid steps, flipped back."""
    # The reset between x[t] and x[t−1] comes, once flipped, before the place of x[t−1].
    flipped_resets = np.zeros_like(WITH_BOTH.resets)
    for t, example in zip(*np.nonzero(WITH_BOTH.resets), strict=True):
        if 1 <= t < LENGTHS[example]:
            flipped_resets[LENGTHS[example] - t, example] = True
    flipped = SequenceFlags(" flipped", LENGTHS, flipped_resets)
    cotangents = subject.cotangents
    for forward, backward in subject.both_directions:

        def flip_by_hand(forward: RunOptions = forward) -> dict[str, PyTree]:
            results = subject.run(
                forward,
                flipped,
                xs=flip_valid(subject.xs, LENGTHS),
                cotangents=cotangents._replace(outputs=flip_valid(cotangents.outputs, LENGTHS)),
            )
            per_step = {
                name: flip_valid(results[name], LENGTHS) for name in ("ys", "gradient of xs")
            }
            return without_states(results | per_step)

        subject.check_equal(
            "reverse",
            flip_by_hand,
            without_states(subject.run(backward, WITH_BOTH)),
            f"with {backward}, a run in reverse does not match flipping by hand",
        )


def causality(subject: Subject) -> None:
    """No output depends on a later input."""
    other = subject.inputs(TIME, BATCH)
    for options in subject.options:
        for t in range(TIME):
            is_later = np.arange(TIME) < t if options.reverse else np.arange(TIME) > t
            xs = replace_steps(subject.xs, is_later, other)
            subject.check_equal(
                "causality",
                lambda o=options, xs=xs, steps=~is_later: {
                    "ys": keep_steps(subject.run(o, PLAIN, xs=xs)["ys"], steps)
                },
                {"ys": keep_steps(subject.run(options, PLAIN)["ys"], ~is_later)},
                f"with {options}, an output depends on a later input",
            )


def splitting(subject: Subject) -> None:
    """Two runs of the parts of a sequence, the state carried, match one run, gradients included."""
    for options in subject.options:
        # In reverse, a reset on the border lies before the first step of one part and after the
        # last of the other, so that neither applies it.
        flags = WITH_LENGTHS if options.reverse else WITH_BOTH
        for border in range(TIME + 1):
            subject.check_equal(
                "splitting",
                lambda o=options, f=flags, b=border: _run_in_two(subject, o, f, b),
                without_states(subject.run(options, flags)),
                f"with {options}, running {border} steps and then the rest does not match one run",
            )
    options = RunOptions(subject.methods[0], has_flags=False)
    expected = subject.reference(options, PLAIN)
    run, _ = subject.halves
    xs = jax.tree.map(lambda leaf: leaf[:, 0], subject.xs)
    subject.check_equal(
        "splitting",
        lambda: jax.tree.map(np.asarray, run(subject.cell, subject.cell.init_state(), xs)),
        {
            "ys": jax.tree.map(lambda leaf: leaf[:, 0], expected["ys"]),
            "final state": example_of(expected["final state"], 0),
        },
        f"with {subject.methods[0]!r}, unrolling xs[:{TIME // 2}] and then xs[{TIME // 2}:] does "
        "not match unrolling xs",
    )


def perturbations(subject: Subject) -> None:
    """The gradient of a perturbation is that of the state after its step."""
    name = "gradient of the states"
    for options in subject.options:
        subject.check_equal(
            "perturbations",
            lambda o=options: {name: subject.run(o, WITH_BOTH, with_states=True)[name]},
            {name: subject.reference(options, WITH_BOTH)[name]},
            f"with {options}, the gradients of the perturbations are not those of the states",
        )


def states(subject: Subject) -> None:
    """`solve(return_states=True)` returns the loop's states, and their gradients are the loop's."""
    d_states = jax.tree.map(subject.normal, subject.cotangents.states)
    cotangents = subject.cotangents._replace(states=d_states)
    expected = {
        is_reverse: subject.reference(
            RunOptions(subject.methods[0], reverse=is_reverse), WITH_BOTH, cotangents
        )
        for is_reverse in (False, True)
    }
    for options in subject.options:
        subject.check_equal(
            "states",
            lambda o=options: subject.run(o, WITH_BOTH, with_states=True, cotangents=cotangents),
            expected[options.reverse],
            f"with {options}, the states of all steps, or their gradients, are not the loop's",
        )


def _check_against_loop(
    subject: Subject, law: str, options: RunOptions, flags: SequenceFlags
) -> None:
    subject.check_equal(
        law,
        lambda: without_states(subject.run(options, flags)),
        without_states(subject.reference(options, flags)),
        f"with {options}, unroll{flags.name} does not match a Python loop of single steps",
    )


def _check_bits(law: str, got: PyTree, expected: PyTree, message: str) -> None:
    difference = largest_difference(got, expected, EXACT)
    if difference:
        raise LawBroken(law, f"{message}; {difference}")


def _run_in_two(
    subject: Subject, options: RunOptions, flags: SequenceFlags, border: int
) -> dict[str, PyTree]:
    """`Subject.run` as two runs and the chain rule, by lengths, so that one program serves all."""
    d_state, d_ys, d_states = subject.cotangents

    def shift(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: np.roll(leaf, -border, axis=0), tree)

    head = (
        SequenceFlags(" head", np.minimum(flags.lengths, border), flags.resets),
        subject.xs,
        d_ys,
    )
    tail = (
        SequenceFlags(" tail", np.maximum(flags.lengths - border, 0), shift(flags.resets)),
        shift(subject.xs),
        shift(d_ys),
    )
    (flags_1, xs_1, d_ys_1), (flags_2, xs_2, d_ys_2) = (
        (tail, head) if options.reverse else (head, tail)
    )
    # The first part runs twice: its final state starts the second, whose gradient it then needs.
    middle = subject.run(options, flags_1, xs=xs_1)["final state"]
    cotangents = Values(d_state, d_ys_2, d_states)
    second = subject.run(options, flags_2, xs=xs_2, state=middle, cotangents=cotangents)
    cotangents = Values(second["gradient of the state"], d_ys_1, d_states)
    first = subject.run(options, flags_1, xs=xs_1, cotangents=cotangents)
    early, late = (second, first) if options.reverse else (first, second)
    per_step = {
        name: jax.tree.map(
            lambda a, b: np.concatenate([a[:border], b[: TIME - border]]), early[name], late[name]
        )
        for name in ("ys", "gradient of xs")
    }
    name = "gradient of the parameters"
    total = {name: jax.tree.map(np.add, first[name], second[name])}
    d_start = {"gradient of the state": first["gradient of the state"]}
    return without_states(second | per_step | total | d_start)


def _after_reset(results: dict[str, PyTree], is_after: np.ndarray) -> dict[str, PyTree]:
    per_step = {name: keep_steps(results[name], is_after) for name in ("ys", "gradient of xs")}
    return per_step | {"final state": results["final state"]}
