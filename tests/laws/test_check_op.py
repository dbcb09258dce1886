"""`check_op` passes correct kernels, and names the law that a faulty one breaks."""

import collections
import re

import numpy as np
import pytest

from seqmem._testing.ops.check_op import LAWS
from seqmem._testing.ops.rules import RULES
from seqmem.testing import Case, KernelOp, LawBroken, NumpyFunction, check_op, report_op, run_case
from tests.helpers.faulty_kernels import FAULTS
from tests.helpers.number_faults import has_no_gradient_at_a_decay_of_zero
from tests.helpers.numpy_kernels import MARKS, has_no_fault, kernel_op
from tests.helpers.refusals import assert_refused
from tests.helpers.scans import SCAN_FAULTS
from tests.helpers.value_faults import (
    adds_without_removing,
    applies_no_scale,
    halves_the_gradient_of_beta,
    ignores_the_initial_state,
    returns_a_transposed_state,
)

SHORT = 80  # a long sequence


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"mlstm"}))
def test_check_op_passes_a_correct_kernel(rule):
    op = kernel_op(has_no_fault, rule, flags=MARKS, dtypes=("float32", "bfloat16"))
    report = check_op(op, long_time=SHORT)
    expected = () if RULES[rule].decay else ("strong decay",)
    assert report.laws("not offered") == expected


@pytest.mark.parametrize("fault", FAULTS)
def test_check_op_names_the_law_that_a_kernel_breaks(fault):
    law, fields = FAULTS[fault]
    report = report_op(kernel_op(fault, **fields), long_time=SHORT)
    assert report.laws("broken")[:1] == (law,), str(report)
    assert report[law].detail


def test_every_law_is_broken_by_at_least_two_kernels():
    laws = [law for law, _ in (*FAULTS.values(), *SCAN_FAULTS.values())]
    counts = collections.Counter(laws)
    assert set(counts) == set(LAWS)
    assert min(counts.values()) >= 2
    assert len(FAULTS) + len(SCAN_FAULTS) >= 20


def test_check_op_raises_with_a_sentence_for_each_broken_law():
    op = kernel_op(ignores_the_initial_state)
    with pytest.raises(LawBroken, match=r"^initial state: the outputs from an initial") as broken:
        check_op(op, long_time=SHORT)
    assert broken.value.law == "initial state"
    message = str(broken.value)
    assert "run_case(op, Case(time=1))" in message
    assert "final state: broken, " in message
    assert "holds" not in message


def test_report_names_the_smallest_case_which_run_case_repeats():
    op = kernel_op(applies_no_scale)
    verdict = report_op(op, long_time=SHORT)["values"]
    assert verdict.case == Case(time=1, has_state=False)
    got, expected = run_case(op, verdict.case)
    np.testing.assert_allclose(got["o"], 3**0.5 * expected["o"], rtol=1e-5)


def test_wrong_gradient_is_reported_once():
    report = report_op(kernel_op(halves_the_gradient_of_beta), long_time=SHORT)
    assert report.laws("broken") == ("gradients",)


def test_smallest_case_has_as_many_steps_as_the_fault_needs():
    # Without an initial state, the first step has nothing to remove.
    verdict = report_op(kernel_op(adds_without_removing), long_time=SHORT)["values"]
    assert verdict.case == Case(time=2, has_state=False)


def test_report_has_a_sentence_for_each_law():
    report = report_op(kernel_op(applies_no_scale), long_time=SHORT)
    lines = [line for line in str(report).splitlines() if not line.startswith(" ")]
    assert [line.split(":")[0] for line in lines] == list(LAWS)
    assert "segments: not offered, there is no argument resets, segment_ids or cu_seqlens" in str(
        report
    )
    with pytest.raises(KeyError):
        report["speed"]


def test_report_names_a_wrong_shape():
    verdict = report_op(kernel_op(returns_a_transposed_state), long_time=SHORT)["values"]
    assert verdict.detail == "it returns state of shape [2, 2, 5, 3], not [2, 2, 3, 5]"


def test_strong_decay_names_the_number_that_is_not_finite():
    op = kernel_op(has_no_gradient_at_a_decay_of_zero)
    detail = report_op(op, long_time=SHORT)["strong decay"].detail
    assert re.fullmatch(r"at a log-decay of -inf, gradient of g is nan at \[\d, \d, \d\]", detail)


def returns_roundings_of_one(run, arrays, d):
    o, state, gradients = run(arrays, d)
    return o, state, {name: leaf + 4e-7 for name, leaf in gradients.items()}


def test_one_step_may_have_a_few_roundings_where_a_gradient_is_zero():
    op = kernel_op(returns_roundings_of_one, initial_state=False)  # so the decay has no gradient
    assert report_op(op, long_time=SHORT)["one step"].outcome == "holds"


def gives_zeros_the_sign_of_the_first_value(run, arrays, d):
    o, state, gradients = run(arrays, d)
    zero = np.copysign(0, arrays["v"].ravel()[0])
    return o, state, {name: np.where(leaf == 0, zero, leaf) for name, leaf in gradients.items()}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sign_of_a_zero_is_no_leak_from_another_sequence(seed):
    op = kernel_op(gives_zeros_the_sign_of_the_first_value, flags=("resets",))
    assert report_op(op, seed=seed, long_time=SHORT)["segments"].outcome == "holds"


# What a function does not offer


def test_what_a_kernel_does_not_offer_is_no_failure():
    correct = kernel_op(has_no_fault, initial_state=False).function

    def outputs_alone(**arrays):
        assert "initial_state" not in arrays
        assert len(arrays["q"]) % 4 == 0
        return correct.function(**arrays)[0]

    op = KernelOp(
        NumpyFunction(outputs_alone),
        "gated_delta",
        layout="TBHD",
        initial_state=False,
        final_state=False,
        chunk_size=4,
        any_length=False,
        least_log_decay=-5,
    )
    report = check_op(op, long_time=SHORT)
    assert set(report.laws("holds")) == {"values", "long time", "determinism"}


@pytest.mark.parametrize("rule", ["delta", "retention", "rwkv7"])
def test_strong_decay_is_not_offered_by_a_rule_without_one(rule):
    verdict = report_op(kernel_op(has_no_fault, rule), long_time=SHORT)["strong decay"]
    assert verdict.outcome == "not offered"


# Axes


def test_kernel_may_have_its_axes_in_another_order():
    correct = kernel_op(has_no_fault, "kda").function

    def to_correct(arrays):
        """From BHTD, gates of heads BHT, to TBHD, and states from HBVK to BHKV."""
        moved = {n: np.moveaxis(x, 2, 0) for n, x in arrays.items() if n != "initial_state"}
        if "initial_state" in arrays:
            moved["initial_state"] = arrays["initial_state"].transpose(1, 0, 3, 2)
        return moved

    def from_correct(arrays):
        moved = {n: np.moveaxis(x, 0, 2) for n, x in arrays.items() if n != "initial_state"}
        if "initial_state" in arrays:
            moved["initial_state"] = arrays["initial_state"].transpose(1, 0, 3, 2)
        return moved

    def forward(**arrays):
        o, state = correct.function(**to_correct(arrays))
        return np.moveaxis(o, 0, 2), state.transpose(1, 0, 3, 2)

    def vjp(arrays, cotangents):
        d_o, d_state = cotangents
        moved = np.moveaxis(d_o, 2, 0), d_state.transpose(1, 0, 3, 2)
        return from_correct(correct.vjp(to_correct(arrays), moved))

    op = KernelOp(NumpyFunction(forward, vjp), "kda", layout="BHTD", state_layout="HBVK")
    check_op(op, long_time=SHORT)


def test_kernel_of_one_sequence_has_no_batch_axis():
    correct = kernel_op(has_no_fault, "gla", flags=("cu_seqlens",)).function

    def with_batch(arrays):
        return {
            n: x if n in ("initial_state", "cu_seqlens") else x[:, None] for n, x in arrays.items()
        }

    def forward(**arrays):
        o, state = correct.function(**with_batch(arrays))
        return o[:, 0], state

    def vjp(arrays, cotangents):
        gradients = correct.vjp(with_batch(arrays), (cotangents[0][:, None], cotangents[1]))
        return {n: x if n == "initial_state" else x[:, 0] for n, x in gradients.items()}

    op = KernelOp(NumpyFunction(forward, vjp), "gla", layout="THD", flags=("cu_seqlens",))
    report = check_op(op, long_time=SHORT)
    assert report["segments"].outcome == "holds"


# Refusals


@pytest.mark.parametrize(
    ("fields", "came"),
    [
        ({"rule": "deltas"}, "KernelOp got rule='deltas'"),
        ({"layout": "BTH"}, "KernelOp got layout='BTH'"),
        ({"layout": "BTHDD"}, "KernelOp got layout='BTHDD'"),
        ({"state_layout": "BHKD"}, "KernelOp got state_layout='BHKD'"),
        ({"flags": ("mask",)}, "KernelOp got flags=('mask',)"),
        ({"dtypes": ()}, "KernelOp got dtypes=()"),
        ({"dtypes": ("int8",)}, "KernelOp got dtypes=('int8',)"),
        ({"state_dtype": "int8"}, "KernelOp got dtypes=('float32',) and state_dtype='int8'"),
        ({"chunk_size": 1}, "KernelOp got chunk_size=1"),
    ],
)
def test_impossible_op_is_refused(fields, came):
    assert_refused(came, lambda: KernelOp(**{"function": np.sum, "rule": "delta"} | fields))


def test_check_op_refuses_a_bare_function():
    assert_refused("check_op got a function", check_op, lambda q: q)
