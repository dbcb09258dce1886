"""A run in plain data is compared with the loop of single steps."""

import dataclasses
import re

import equinox as eqx
import jax
import numpy as np
import pytest

import seqmem
from seqmem._testing.conditioning import NUDGE, compare
from seqmem.testing import LawBroken, SequenceRun

CODE = "seqmem.GRU(3, 4, key=jax.random.key(0))"
CELL = eval(CODE, {"jax": jax, "seqmem": seqmem})
RUN = SequenceRun(
    CELL,
    time=5,
    batch=(2, 2),
    lengths=(5, 4, 0, 1),
    padding=((0, 0), (2, 1)),
    resets=((3, 0), (1, 1)),
    reverse=True,
    has_state=True,
)


def test_run_agrees_with_the_loop():
    comparison = RUN.check()
    assert comparison.difference is None
    assert comparison.skipped == 0
    assert comparison.leaves == 8  # ys, state; gradients of four parameters, the state and xs


class Wrong(seqmem.Scan):
    """A scan that loses the last bit in a hundred thousand of its outputs."""

    def run(self, problem):
        solution = super().run(problem)
        return dataclasses.replace(solution, outputs=solution.outputs * (1 + 1e-5))


def test_method_that_is_slightly_wrong_is_told_with_its_program():
    with pytest.raises(LawBroken, match="agreement: ") as error:
        dataclasses.replace(RUN, method=Wrong()).check()
    assert "resets=((3, 0), (1, 1))" in str(error.value)
    assert "rounding explains" in str(error.value)


def test_lines_of_a_run_are_a_program_that_makes_it():
    names = {}
    run = dataclasses.replace(RUN, method=seqmem.Scan(tile=3), dtype="float32")
    program = run.lines(CODE)
    exec(program.replace("run.check()", ""), names)
    for field in dataclasses.fields(run):
        if field.name != "cell":
            assert getattr(names["run"], field.name) == getattr(run, field.name)
    assert len(program.splitlines()) <= 10


def test_padding_is_not_compared_where_extreme_parameters_make_its_steps_infinite():
    cell = seqmem.S5(3, 4, key=jax.random.key(0))
    cell = eqx.tree_at(lambda cell: cell.Lambda, cell, 1e6 + cell.Lambda)  # its factor is infinite
    run = SequenceRun(cell, time=1, lengths=(0,))
    with pytest.raises(LawBroken, match="is nan and not 0"):
        run.check()
    comparison = dataclasses.replace(run, param_noise=2.0).check()
    assert (comparison.leaves, comparison.skipped) == (0, 8)


def values(**leaves):
    return {name: np.asarray(leaf, float) for name, leaf in leaves.items()}


WANT = values(a=[1.0, 2.0], b=3.0)
STABLE = values(a=[1 + NUDGE, 2 - NUDGE], b=3.0)


@pytest.mark.parametrize(
    ("got", "nudged", "leaves", "skipped", "difference"),
    [
        (WANT, STABLE, 2, 0, None),
        (values(a=[1, 2 + 1e-13], b=3), STABLE, 2, 0, None),
        (values(a=[1, 2.001], b=3), STABLE, 2, 0, r"a at \[1\] is 2.001 and not 2"),
        (values(a=[1, np.nan], b=3), STABLE, 2, 0, r"a at \[1\] is nan and not 2"),
        (values(a=[1, 2], b=4), values(a=[1, 2], b=2.9), 2, 0, r"b is 4 and not 3"),
        (values(a=[1, 2], b=4), values(a=[1, 2], b=1e6), 1, 1, None),  # too sensitive
        (values(a=[1, 2], b=4), values(a=[1, 2], b=np.inf), 1, 1, None),
        (values(a=[1, 2, 3], b=3), STABLE, 0, 0, r"a has shape \(3,\), not \(2,\)"),
        ({"a": WANT["a"]}, STABLE, 0, 0, "the tree is"),
    ],
)
def test_difference_counts_where_rounding_does_not_explain_it(
    got, nudged, leaves, skipped, difference
):
    comparison = compare(got, WANT, nudged, eps=2.2e-16)
    if difference is None:
        assert comparison.difference is None
    else:
        assert re.match(difference, comparison.difference)
    assert (comparison.leaves, comparison.skipped) == (leaves, skipped)


EPS = float(np.finfo(np.float32).eps)
HALF = values(a=[1.0, 1.5], b=3.0)  # a run in which small numbers become 0


@pytest.mark.parametrize(
    ("got", "single", "may_overflow", "leaves", "skipped", "difference"),
    [
        (values(a=[1, 2.01], b=3), WANT, False, 2, 0, r"a at \[1\] is 2.01 and not 2"),
        (values(a=[1, 2.01], b=3), values(a=[1, 2.002], b=3), False, 2, 0, None),
        (values(a=[1, 2.03], b=3), values(a=[1, 2.002], b=3), False, 2, 0, r"a at \[1\] is 2.03"),
        (HALF, HALF, False, 1, 1, None),
        (values(a=[1, 2], b=4), HALF, False, 1, 1, "b is 4 and not 3"),
        (values(a=[1, np.nan], b=3), values(a=[1, np.nan], b=3), False, 2, 0, r"a at \[1\] is nan"),
        (values(a=[1, np.nan], b=4), values(a=[1, np.nan], b=3), True, 0, 2, None),
        (values(a=[1, np.nan], b=3), HALF, True, 1, 1, r"a at \[1\] is nan"),
    ],
)
def test_errors_of_the_loop_in_float32_explain_a_difference(
    got, single, may_overflow, leaves, skipped, difference
):
    comparison = compare(got, WANT, STABLE, EPS, single, may_overflow=may_overflow)
    if difference is None:
        assert comparison.difference is None
    else:
        assert re.match(difference, comparison.difference)
    assert (comparison.leaves, comparison.skipped) == (leaves, skipped)


def test_a_difference_is_rounding_if_products_of_large_inputs_explain_it():
    got = values(a=[1, 2 + 1e-9], b=3)
    assert compare(got, WANT, STABLE, eps=2.2e-16).difference is not None
    assert compare(got, WANT, STABLE, eps=2.2e-16, largest_input=1e3).difference is None
