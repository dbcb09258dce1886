"""Launches counted in compiled programs, and those of seqmem's programs for an H200."""

import json
import sys

import jax
import pytest

from benchmarks.common.aot import missing_compiler
from benchmarks.common.launches import count_launches
from benchmarks.cost import launches
from benchmarks.cost.launch_cases import CASES, measure

H200_MISSING = missing_compiler("h200")
needs_compiler = pytest.mark.skipif(H200_MISSING is not None, reason=str(H200_MISSING))

PROGRAM = """HloModule jit_f, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%fused (p.1: f32[8]) -> f32[8] {
  %p.1 = f32[8]{0} parameter(0)
  ROOT %add.1 = f32[8]{0} add(%p.1, %p.1)
}

%inner_body (state.1: (s32[], f32[8])) -> (s32[], f32[8]) {
  %state.1 = (s32[], f32[8]{0}) parameter(0)
  %x.1 = f32[8]{0} get-tuple-element(%state.1), index=1
  %call.1 = (f32[8]{0}, s8[64]{0}) custom-call(%x.1), custom_call_target="__cublas$gemm"
  ROOT %tuple.1 = (s32[], f32[8]{0}) tuple(%x.1, %call.1)
}

%inner_condition (state.2: (s32[], f32[8])) -> pred[] {
  %state.2 = (s32[], f32[8]{0}) parameter(0)
  ROOT %less.2 = pred[] compare(%state.2, %state.2), direction=LT
}

%body (state.3: (s32[], f32[8])) -> (s32[], f32[8]) {
  %state.3 = (s32[], f32[8]{0}) parameter(0)
  %copy-start.3 = (f32[8]{0}, f32[8]{0}, u32[]) copy-start(%state.3)
  %copy-done.3 = f32[8]{0} copy-done(%copy-start.3)
  ROOT %while.3 = (s32[], /*index=1*/f32[8]{0}) while(%state.3), condition=%inner_condition, \
body=%inner_body, backend_config={"known_trip_count":{"n":"5"}}
}

%commands (p.4: f32[8]) -> f32[8] {
  %p.4 = f32[8]{0} parameter(0)
  %fusion.4 = f32[8]{0} fusion(%p.4), kind=kLoop, calls=%fused
  ROOT %fusion.5 = f32[8]{0:T(128)} fusion(%fusion.4), kind=kInput, calls=%fused
}

%small (p.5: f32[8]) -> f32[8] {
  ROOT %p.5 = f32[8]{0} parameter(0)
}

ENTRY %main.6 (x.6: f32[8]) -> f32[8] {
  %x.6 = f32[8]{0} parameter(0)
  %zero.6 = s32[] constant(0)
  %start.6 = (s32[], f32[8]{0}) tuple(%zero.6, %x.6)
  %while.6 = (s32[], f32[8]{0}) while(%start.6), condition=%inner_condition, body=%body, \
backend_config={"known_trip_count":{"n":"3"},"known_init_step":{"init":"0","step":"1"}}
  %x.7 = f32[8]{0} get-tuple-element(%while.6), index=1
  %call.6 = f32[8]{0} call(%x.7), to_apply=%commands
  %if.6 = f32[8]{0} conditional(%zero.6, %call.6, %call.6), branch_computations={%small, %commands}
  ROOT %fusion.6 = f32[8]{0} fusion(%if.6), kind=kLoop, calls=%fused
}
"""

# Forward pass and gradient, with what the programs of jax 0.12.0.1 have below.
MOST = {
    "LSTM": (2_600, 6_600),
    "GRU": (2_600, 5_600),
    "MinGRU": (95, 190),
    "LRU": (105, 220),
    "MinGRU, kernel": (9, 20),
    "LRU, kernel": (17, 50),
    "GatedDeltaRule": (440, 1_350),
}


def test_launches_are_counted_in_calls_branches_and_trips_of_loops():
    program = count_launches(PROGRAM)
    # Two of the call, the condition, two of its longer branch, and the last fusion.
    assert program.launches == 3 * (1 + 5 * 1) + 2 + 1 + 2 + 1
    assert program.kinds == {"fusion Loop": 2, "fusion Input": 1, "conditional": 1}
    assert program.inner[0].inner[0].kinds == {"custom-call __cublas$gemm": 1}
    assert program.outline() == "1 * (4 + 3 * (1 + 5 * (1)) + 1 * (2))"


def test_loop_of_unknown_length_is_refused():
    with pytest.raises(ValueError, match="unknown trip count"):
        count_launches(PROGRAM.replace('"known_trip_count":{"n":"5"}', ""))


def test_launches_of_a_program_of_this_jax_are_counted():
    """XLA writes the programs of all platforms in the same form."""

    def run(x):
        return jax.lax.scan(lambda x, _: (jax.numpy.sin(x @ x), None), x, None, length=7)[0]

    program = count_launches(jax.jit(run).lower(jax.numpy.ones((5, 5))).compile().as_text())
    (loop,) = program.inner
    assert loop.trips == 7
    assert loop.kinds


@pytest.mark.slow
@needs_compiler
@pytest.mark.optimised
@pytest.mark.parametrize("name", MOST)
def test_program_launches_no_more_on_an_h200(name):
    results = measure(CASES[name], "h200")
    counts = tuple(results[kind]["launches"] for kind in ("forward", "gradient"))
    assert all(count <= most for count, most in zip(counts, MOST[name], strict=True)), counts


@pytest.mark.slow
@needs_compiler
@pytest.mark.optimised
def test_script_writes_and_updates_its_results(tmp_path, monkeypatch):
    for arguments in ("--only MinGRU", "--only LRU --targets h200"):
        command = ["launches", *arguments.split(), "--out", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", command)
        launches.main()
    text = (tmp_path / "launches_h200.json").read_text()
    record = json.loads(text)
    assert set(record["rows"]) == {"MinGRU", "LRU"}
    assert set(record["rows"]["MinGRU"]) == set(record["rows"]["LRU"]) | {"v5e"}
    assert record["rows"]["LRU"]["h200"]["forward"]["launches"] > 0
    assert str(tmp_path) not in text
    assert "no accelerator ran" in (tmp_path / "launches_h200.md").read_text()
