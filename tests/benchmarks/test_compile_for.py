"""What is read off a compiler's reports, and the arithmetic beside it."""

import pytest

from benchmarks.common.aot import missing_compiler
from benchmarks.cost.compile_cases import CASES, expected
from benchmarks.cost.compile_for import kernels_of, kernels_table, measure_apart, refusals

H200_MISSING = missing_compiler("h200")


def ptxas(registers, spilled):
    return f"""ptxas info    : Compiling entry function 'kernel' for 'sm_90a'
ptxas info    : Function properties for kernel
    8 bytes stack frame, {spilled} bytes spill stores, {spilled} bytes spill loads
ptxas info    : Used {registers} registers, used 16 barriers, 1 bytes smem
"""


RESOURCES = "Resources(smem_scratch_bytes={}, tmem_scratch_cols=0)\n"


@pytest.mark.parametrize("order", [("forward", "backward"), ("backward", "forward")])
def test_registers_of_both_kernels_are_read_in_any_order(order):
    reports = {"forward": ptxas(48, 0), "backward": ptxas(61, 4)}
    output = RESOURCES.format(1000) + ptxas(48, 0) + RESOURCES.format(1000)
    output += RESOURCES.format(2000) + "".join(reports[kind] for kind in order)
    assert kernels_of(output) == {
        "forward": {"registers": 48, "spilled": 0, "shared memory": 1000},
        "backward": {"registers": 61, "spilled": 8, "shared memory": 2000},
    }


def test_arithmetic_of_a_step():
    """An LSTM of 128 units, 16 examples in tiles of 8: 4 planes of z and 2 of the state."""
    step = expected(CASES["LSTM 128 bfloat16, h200"])
    assert step["forward"]["KiB"] == (4 + 4 + 2) * 16 * 128 * 4 / 1024
    assert step["backward"]["KiB"] == (4 + 2 + 2 + 2) * 16 * 128 * 4 / 1024
    assert step["forward"]["operations"] == 2 * 16 * 4 * 128**2 / 1e6
    cycles = 4 * 128**2 * 2 / 128
    assert step["forward"]["matrices µs"] == pytest.approx(cycles / 1980)


def test_refused_kernel_is_named_with_the_reason():
    row = {"target": "h200", "cell": "LSTM", "units": 192, "precision": "bfloat16"}
    row |= {"refusal": "its matrices are too large"}
    assert refusals([row]) == ["LSTM, 192 units, bfloat16: its matrices are too large."]
    assert len(kernels_table([row]).splitlines()) == 2  # the head


def test_forward_kernel_stands_first_in_the_table():
    """JSON sorts names, and "backward" comes before "forward"."""
    numbers = {"Fused": {"MiB": 1.0, "launches": 1}, "Scan": {"launches": 2}}
    kernel = {"spilled": 0, "shared memory": 1024}
    row = {"target": "h200", "cell": "LSTM", "units": 64, "precision": "bfloat16", "tile": [1, 8]}
    row |= {"forward": numbers, "gradient": numbers}
    row["kernels"] = {"backward": kernel | {"registers": 61}, "forward": kernel | {"registers": 48}}
    assert "48 / 61" in kernels_table([row])


@pytest.mark.slow
@pytest.mark.skipif(H200_MISSING is not None, reason=str(H200_MISSING))
def test_kernels_compile_for_an_h200_without_spills():
    row = measure_apart("RNN 128 bfloat16, h200")
    kernels = row["kernels"]
    assert [kernel["spilled"] for kernel in kernels.values()] == [0, 0]
    assert all(kernel["shared memory"] <= 227 * 1024 for kernel in kernels.values())
    assert row["gradient"]["Fused"]["launches"] < 64 < row["gradient"]["Scan"]["launches"]
