"""The table of conformance: verdicts, the lines that repeat them, and runs of a function each."""

import json
import sys

import jax
import pytest

from benchmarks.studies import conformance, conformance_report
from benchmarks.studies.conformance_adapters.entry import Entry, Library
from seqmem.testing import Case, OpReport, Verdict


class FixedReport:
    """An op whose report is given."""

    def __init__(self, *verdicts):
        self.report = OpReport(verdicts)


@pytest.fixture
def library(monkeypatch):
    """A library with a fault, and with a law that it does not promise."""
    op = FixedReport(
        Verdict("values", "holds"),
        Verdict("gradients", "broken", "1 step and\n    the rest differ", Case(time=2)),
        Verdict("segments", "broken", "another bit", Case(time=8, flag="resets")),
        Verdict("initial state", "broken", "the function raised TypeError: no"),
        Verdict("padding", "not offered", "there is no argument lengths"),
    )
    reasons = dict.fromkeys(("values", "initial state"), "-")  # one holds, the other raises
    unpromised = {"chunked": {"segments": "it rounds"} | reasons, "loop": {"gradients": "-"}}
    entries = [Entry("sum, chunked", op), Entry("sum, loop", op)]
    peer = Library(("peer",), lambda: entries, "all", unpromised)
    monkeypatch.setitem(conformance.LIBRARIES, "peer", peer)
    monkeypatch.setattr(conformance, "report_op", lambda op, long_time: op.report)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["conformance", *arguments])
    with jax.numpy_dtype_promotion("standard"):
        conformance.main()


def test_law_that_is_not_promised_is_no_fault(library, monkeypatch, tmp_path, capsys):
    run(monkeypatch, "--libraries", "peer", "--out", str(tmp_path))
    (record,) = conformance_report.read_records(tmp_path, "cpu", conformance.LIBRARIES)
    laws = record["rows"][0]["laws"]
    assert record["rows"][1]["laws"]["segments"]["outcome"] == "broken"
    assert laws["segments"]["outcome"] == "not promised"
    assert laws["segments"]["reason"] == "it rounds"
    assert laws["gradients"]["outcome"] == "broken"
    assert laws["values"]["outcome"] == "holds"
    said = "peer, sum, chunked: 1 of 4 laws hold; broken: initial state, gradients; "
    assert said + "not promised, and seen: segments" in capsys.readouterr().out


def test_table_has_a_line_that_repeats_each_fault(library, monkeypatch, tmp_path, capsys):
    run(monkeypatch, "--libraries", "peer", "--out", str(tmp_path))
    run(monkeypatch, "--table", "--out", str(tmp_path))
    table = (tmp_path / "conformance_cpu.md").read_text()
    op = 'op_of("peer", "sum, chunked")'
    assert f"1 step and the rest differ. `run_case({op}, Case(time=2))`" in table
    assert f"TypeError: no. `report_op({op})['initial state']`" in table
    broken, unpromised = table.split("Broken:")[1].split("Not promised, and seen:")
    line = f"segments (it rounds): another bit. `report_op({op})['segments']`"
    assert f"* peer, sum, chunked, {line}" in unpromised
    assert "sum, chunked, segments" not in broken
    assert conformance.op_of("peer", "sum, chunked").report["values"].outcome == "holds"


def test_run_adds_its_functions_to_those_of_the_same_versions(library, monkeypatch, tmp_path):
    path = tmp_path / "conformance_peer_cpu.json"
    for name in ("sum, loop", "sum, chunked"):
        run(monkeypatch, "--libraries", "peer", "--functions", name, "--out", str(tmp_path))
    record = json.loads(path.read_text())
    assert [row["function"] for row in record["rows"]] == ["sum, chunked", "sum, loop"]
    assert record["rows"][1]["command"].endswith("--functions 'sum, loop'")
    assert conformance.earlier_rows(path, record | {"versions": {"seqmem": "0"}}) == {}


def test_library_that_is_missing_is_named_and_left_out(monkeypatch, tmp_path, capsys):
    def build():
        raise ModuleNotFoundError("No module named 'peer'", name="peer")

    monkeypatch.setitem(conformance.LIBRARIES, "peer", Library(("peer",), build, "all"))
    run(monkeypatch, "--libraries", "peer", "--out", str(tmp_path))
    assert capsys.readouterr().out == "peer: missing: no module named 'peer'\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.optimised
def test_functions_of_two_libraries_make_one_table(monkeypatch, tmp_path):
    names = ["--libraries", "equinox", "seqmem", "--functions", "GRUCell", "delta, Parallel"]
    run(monkeypatch, *names, "--long-time", "8", "--out", str(tmp_path))
    run(monkeypatch, "--table", "--out", str(tmp_path))
    records = conformance_report.read_records(tmp_path, "cpu", conformance.LIBRARIES)
    assert [record["library"] for record in records] == ["equinox", "seqmem"]
    for record in records:
        assert record["command"].startswith("python -m benchmarks.studies.conformance --")
        assert str(tmp_path) not in json.dumps(record)
        assert {"machine", "versions", "date"} <= set(record)
        (row,) = record["rows"]
        assert not conformance_report.named(row, "broken")
        assert row["laws"]["gradients"]["outcome"] == "holds"
    assert (tmp_path / "conformance_cpu.md").read_text().count("| equinox | GRUCell") == 1
