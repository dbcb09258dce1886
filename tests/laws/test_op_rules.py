"""The rules that `check_op` compares with: their gradients, and seqmem's own cells."""

import numpy as np
import pytest

import seqmem
from seqmem._testing.comparison import largest_difference
from seqmem._testing.ops.recurrence import Marks
from seqmem._testing.ops.rule import Sizes
from seqmem._testing.ops.rules import RULES
from seqmem.testing import Case, KernelOp, check_op, run_case
from tests.helpers.seqmem_kernels import seqmem_kernel
from tests.helpers.slow import slow_but

TIME, BATCH = 5, 2


@pytest.mark.parametrize("name", RULES)
def test_rule_gradient_matches_finite_differences(name):
    rule, rng, sizes = RULES[name], np.random.default_rng(0), Sizes()
    arrays = rule.draw(rng, (TIME, BATCH), sizes)
    state = rule.draw_state(rng, BATCH, sizes)
    starts, is_padding = np.zeros((2, TIME, BATCH), bool)
    starts[3, 0], is_padding[3:, 1] = True, True
    d_outputs = rng.normal(size=arrays["v"].shape)
    d_state = tuple(rng.normal(size=leaf.shape) for leaf in rule.unscaled(state))

    def evaluate(arrays, state):
        marks = Marks(starts, is_padding)
        return rule.evaluate(arrays, state, marks, 0.7, (d_outputs, d_state))

    def loss(arrays, state):
        run = evaluate(arrays, state)
        sums = [(a * b).sum() for a, b in zip(run.state, d_state, strict=True)]
        return (run.outputs * d_outputs).sum() + sum(sums)

    def assert_slope(gradient, move):
        direction = rng.normal(size=gradient.shape)
        slope = (loss(*move(1e-6 * direction)) - loss(*move(-1e-6 * direction))) / 2e-6
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-7)

    gradients = evaluate(arrays, state).gradients
    for leaf in rule.inputs:
        assert_slope(
            gradients[leaf], lambda d, leaf=leaf: (arrays | {leaf: arrays[leaf] + d}, state)
        )
    for i, gradient in enumerate(gradients["initial_state"]):
        assert_slope(gradient, lambda d, i=i: (arrays, (*state[:i], state[i] + d, *state[i + 1 :])))


def op_of(rule):
    return KernelOp(
        seqmem_kernel(rule, seqmem.Parallel(chunk_size=4)),
        rule,
        layout="TBHD",
        flags=("lengths", "resets"),
        chunk_size=4,
        dtypes=("float64",),
    )


@pytest.mark.parametrize("rule", slow_but({"gdn2", "mlstm"}, RULES))
def test_rule_is_that_of_seqmems_cell(rule):
    case = Case(time=7, flag="resets", starts=((3, 0), (4, 1)))
    got, expected = run_case(op_of(rule), case)
    assert set(got) == set(expected)
    assert largest_difference(got, expected, 1e-10) is None


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_kernel_of_seqmem_keeps_every_law(rule):
    report = check_op(op_of(rule))
    not_offered = {"dtypes"} | ({"strong decay"} if RULES[rule].decay is None else set())
    assert set(report.laws("not offered")) == not_offered
