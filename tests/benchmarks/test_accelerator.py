"""The runner of the accelerator's sections, and their rows."""

import importlib.util
import itertools
import json
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from benchmarks.common import timing
from benchmarks.cost import accelerator, accelerator_report
from benchmarks.cost.accelerator_sections import device, gated
from benchmarks.cost.accelerator_sections.section import (
    CannotRunError,
    Case,
    Section,
    append_row,
    given,
)
from benchmarks.cost.matrix_recurrences import random_writes, seqmem_readings
from seqmem._core.platform import current_platform

WRITE_ROW = "open({path!r}, 'a').write({text!r} + '\\n')"


@pytest.fixture
def rows(tmp_path):
    return tmp_path / "rows.jsonl"


def make_section(rows, **options):
    return Section("gated", rows, options.pop("end", time.time() + 600), **options)


def raise_error():
    raise RuntimeError("no memory at /private/folder/file.py\nand more")


def test_row_that_raises_says_why_and_the_next_one_is_measured(rows):
    section = make_section(rows)
    section.attempt({"part": "forward"}, raise_error)
    section.attempt({"part": "gradient"}, lambda: {"ms": 7.0})
    first, second = accelerator_report.read_rows(rows)
    assert first["failure"] == "error: RuntimeError: no memory at file.py"
    assert first["part"] == "forward"
    assert second["ms"] == 7.0
    assert {"machine", "versions", "date", "section"} <= set(first) & set(second)


def test_section_that_raises_becomes_a_row_with_the_reason(rows):
    def measure(section):
        section.write({"ms": 7.0})
        raise_error()

    make_section(rows).run(measure)
    started, measured, failed, ended = accelerator_report.read_rows(rows)
    assert "machine" in started
    assert measured["ms"] == 7.0
    assert failed["failure"] == "error: RuntimeError: no memory at file.py"
    assert ended["seconds"] >= 0


def test_program_that_does_not_compile_is_one_row_among_others(rows):
    section = make_section(rows)
    x = jnp.ones(3)
    broken = Case({"part": "broken"}, given(lambda x: x @ jnp.ones((2, 2)), x))
    section.measure([broken, Case({"part": "forward"}, given(jnp.sin, x))])
    first, second = accelerator_report.read_rows(rows)
    assert first["failure"].startswith("error: TypeError")
    assert second["ms"] > 0
    assert second["compile_seconds"] > 0


def test_section_out_of_time_stops_and_keeps_its_rows(rows):
    ticks = itertools.count()
    section = make_section(rows, end=1.5, clock=lambda: float(next(ticks)))
    calls = []

    def measure():
        calls.append(None)
        return {"ms": 7.0}

    for part in ("first", "second", "third"):
        section.attempt({"part": part}, measure)
    first, second, third = accelerator_report.read_rows(rows)
    assert first["ms"] == second["ms"] == 7.0
    assert third["failure"] == "the section's time was over"
    assert len(calls) == 2


def test_job_that_is_not_done_in_time_says_so(rows):
    section = make_section(rows, end=time.time() + 0.2)
    unblocked = threading.Event()
    try:
        results = section.run_side_by_side({"quick": lambda: 7, "stuck": unblocked.wait})
        assert results["quick"]() == 7
        with pytest.raises(CannotRunError, match="not compiled in the section's time"):
            results["stuck"]()
    finally:
        unblocked.set()


def run_python(code, seconds):
    commands = {tag: [sys.executable, "-c", text] for tag, text in code.items()}
    environments = {tag: accelerator.environment_of("", smoke=True) for tag in code}
    return accelerator.run_processes(commands, environments, seconds)


@pytest.mark.slow
def test_process_that_is_killed_keeps_its_rows(rows):
    code = WRITE_ROW.format(path=str(rows), text='{"ms": 7.0}') + "; import time; time.sleep(99)"
    start = time.monotonic()
    reasons = run_python({"gated": code}, 2.0)
    assert time.monotonic() - start < 30
    assert reasons == {"gated": "its 2 seconds were over, and it was killed"}
    assert [row["ms"] for row in accelerator_report.read_rows(rows)] == [7.0]


def test_section_that_is_killed_says_on_which_device(rows, monkeypatch):
    def run_processes(commands, environments, seconds):
        Section("gated", rows, 0.0).run(lambda section: None)
        return dict.fromkeys(commands, "it was killed")

    monkeypatch.setattr(accelerator, "run_processes", run_processes)
    accelerator.run_section("gated", rows, 60.0, smoke=True)
    started, _, killed = accelerator_report.read_rows(rows)
    assert killed["failure"] == "it was killed"
    assert (killed["machine"], killed["versions"]) == (started["machine"], started["versions"])


def test_process_that_ends_by_an_error_says_why():
    code = {"bad": "raise SystemExit('no file /private/folder/x.so')", "good": "print('hello')"}
    assert run_python(code, 60.0) == {"bad": "it ended with 1: no file x.so"}


def test_processes_compile_side_by_side_and_are_timed_in_turns(rows):
    code = {}
    for tag, seconds in (("quick", 0.0), ("slow", 0.5)):  # to compile
        notes = [WRITE_ROW.format(path=str(rows), text=f"{step} {tag}") for step in ("from", "to")]
        compiled = WRITE_ROW.format(path=str(rows), text="compiled")
        ready = f"print('{accelerator.READY}', flush=True); input()"
        start = f"import time; time.sleep({seconds})"
        code[tag] = "; ".join([start, compiled, ready, notes[0], "time.sleep(0.2)", notes[1]])
    assert run_python(code, 60.0) == {}
    lines = ["compiled", "compiled", "from quick", "to quick", "from slow", "to slow"]
    assert rows.read_text().splitlines() == lines


def test_section_that_runs_again_replaces_its_own_rows_only(tmp_path, monkeypatch, capsys):
    values = itertools.count(1)

    def run_section(name, rows, seconds, smoke):
        assert 0 < seconds <= 470
        append_row(rows, {"section": name, "failure": f"reason {next(values)}"})

    monkeypatch.setattr(accelerator, "run_section", run_section)
    for only in (["laws", "gated"], ["laws"], []):
        monkeypatch.setattr(sys, "argv", ["x", "--only", *only, "--out", str(tmp_path)])
        accelerator.main()
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    reasons = [(row["section"], row["failure"]) for row in record["rows"]]
    assert reasons == [("gated", "reason 2"), ("laws", "reason 3")]
    assert "* laws: reason 3." in capsys.readouterr().out
    assert str(tmp_path) not in path.read_text()


def test_time_that_a_section_leaves_goes_to_the_others(tmp_path, monkeypatch):
    shares = {}

    def run_section(name, rows, seconds, smoke):
        shares[name] = seconds

    monkeypatch.setattr(accelerator, "run_section", run_section)
    argv = ["x", "--seconds", "100", "--only", "laws", "flags", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    accelerator.main()
    laws, flags = accelerator.SHARES["laws"], accelerator.SHARES["flags"]
    assert shares["laws"] == pytest.approx(100 * laws / (laws + flags), abs=1)
    assert shares["flags"] == pytest.approx(100, abs=1)


@pytest.mark.parametrize(
    ("tick", "most", "queued", "rounds"),
    [(2**-10, 100, 20, 5), (2**-10, 4, 4, 5), (0.5, 100, 1, 4), (8.0, 100, 1, 2)],
)
def test_queue_is_as_long_as_time_and_memory_allow(monkeypatch, tick, most, queued, rounds):
    clock = itertools.count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: tick * next(clock))
    calls, lengths = [], []

    def wait(_):
        lengths.append(len(calls))
        calls.clear()

    figures = timing.time_queued(lambda: calls.append(None), wait, most=most)
    assert lengths == [1, 1, 1] + [queued] * rounds
    assert figures["ms"] == pytest.approx(1e3 * tick / queued)
    assert figures["latency_ms"] == pytest.approx(1e3 * tick)
    assert figures["spread"] == pytest.approx(1)


@pytest.mark.slow
def test_weights_for_cudnn_stand_in_its_order():
    """The function that is called on a GPU, with JAX's own reference in place of cuDNN."""
    from jax.experimental import rnn

    def reference(x, h, c, weights, lengths, *sizes):
        *sizes, _precision = sizes
        size, hidden, layers, _dropout, both = sizes
        parts = rnn.unpack_lstm_weights(weights, size, hidden, layers, both)
        return rnn.lstm_ref(x, h, c, *parts, lengths, *sizes)

    cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
    cell = jax.tree.map(lambda leaf: leaf + 0.1, cell)
    xs = jax.random.normal(jax.random.key(1), (7, 2, 3))
    ys = jax.jit(gated.cudnn_lstm(reference, None))(cell, xs)
    _, expected = seqmem.unroll(cell, None, xs)
    np.testing.assert_allclose(ys, expected, rtol=1e-5, atol=1e-6)


def test_schedule_of_a_cpu_is_traced_on_any_platform():
    with seqmem.target_platform("gpu"):
        assert current_platform() == "gpu"
        assert gated.traced_for_cpu(current_platform)() == "cpu"


@pytest.mark.slow
def test_memories_of_several_heads_are_those_of_each():
    writes = random_writes("gated delta", 7, 2, num_heads=3, size=5)
    readings = jax.jit(lambda w: seqmem_readings(w, seqmem.Parallel(chunk_size=4)))(writes)
    for head in range(3):
        of_head = jax.tree.map(lambda leaf, head=head: leaf[:, :, head : head + 1], writes)
        expected = jax.jit(lambda w: seqmem_readings(w, seqmem.ReferenceScan()))(of_head)
        np.testing.assert_allclose(readings[:, :, [head]], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_section_without_an_extra_has_numbers_and_one_reason(rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    section = Section("device", rows, time.time() + 600, smoke=True)
    section.run(device.measure)
    _, *measured, _ = accelerator_report.read_rows(rows)
    assert len(measured) == 5
    assert [row["failure"] for row in measured if row.get("ms", 0) <= 0] == [
        "missing: no module named 'torch'"
    ]


@pytest.mark.slow
def test_every_section_runs_at_tiny_shapes(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["accelerator", "--smoke", "--out", str(tmp_path)])
    accelerator.main()
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    rows = record["rows"]
    assert {row["section"] for row in rows if "ms" in row or "law" in row} == set(
        accelerator.SHARES
    )
    for row in rows:
        assert {"machine", "versions", "date"} <= set(row)
        assert "seconds" in row or "precision" in row
        assert "seconds" in row or row.get("ms", 0) > 0 or row.get("holds") or "failure" in row
    failures = {row["failure"] for row in rows if "failure" in row}
    assert not any(text.startswith(("error", "it ended", "its ")) for text in failures), failures
    has_torch = importlib.util.find_spec("torch") is not None
    assert has_torch or "missing: no module named 'torch'" in failures
    assert record["command"] == "python -m benchmarks.cost.accelerator --smoke"
    assert str(tmp_path) not in path.read_text()
