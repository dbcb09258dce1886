"""The report of the accelerator's rows, and what its laws call broken."""

import math
import time

import numpy as np
import pytest

from benchmarks.cost import accelerator_report
from benchmarks.cost.accelerator_sections import gated, laws
from benchmarks.cost.accelerator_sections.fast_weights import row_labels
from benchmarks.cost.accelerator_sections.section import Section


@pytest.fixture
def rows(tmp_path):
    return tmp_path / "rows.jsonl"


def make_section(name, rows):
    return Section(name, rows, time.time() + 600)


def test_line_that_was_cut_is_left_out(rows):
    rows.write_text('{"section": "laws", "ms": 1}\n{"section": "la')
    assert accelerator_report.read_rows(rows) == [{"section": "laws", "ms": 1}]


def test_report_of_a_broken_law_voids_all_times(rows):
    section = make_section("laws", rows)
    for name, error in (("LSTM", 1e-6), ("GRU", math.nan)):
        numbers = np.array([1.0 + error]), np.array([1.0])
        section.attempt({"law": name}, lambda numbers=numbers: laws.check(numbers))
    record = accelerator_report.record_of(accelerator_report.read_rows(rows), "command")
    text = accelerator_report.report(record)
    assert "EVERY TIME BELOW IS VOID: the device computes other numbers: GRU (nan)." in text
    assert [row["holds"] for row in record["rows"]] == [True, False]


def test_law_is_broken_by_the_rounding_of_tf32():
    exact = [np.linspace(1, 2, 7), np.full(3, 1e-9)]
    rounded = [exact[0] * (1 + 3e-4), exact[1]]
    assert not laws.check((rounded, exact))["holds"]
    assert laws.check(([exact[0], 2 * exact[1]], exact))["holds"]  # a gradient of rounding errors


def test_report_has_a_column_for_each_library_and_precision(rows):
    section = make_section("gated", rows)
    sizes = gated.SHAPES[0]
    for library, precision, ms in (("seqmem", "TF32", 3.21), ("torch", "bfloat16", 1.98)):
        for part, times in (("forward", 1), ("gradient", 3)):
            labels = gated.row_labels("LSTM", sizes, library, precision, part)
            section.write(labels | {"ms": times * ms})
    labels = row_labels("KDA", (5, 3, 2, 7), "fla", "bfloat16", "forward")
    make_section("fast_weights", rows).write(labels | {"failure": "it is missing"})
    record = accelerator_report.record_of(accelerator_report.read_rows(rows), "command")
    lines = accelerator_report.report(record).splitlines()
    heads = [i for i, line in enumerate(lines) if "seqmem TF32 | torch bfloat16" in line]
    cells = [lines[head + 2].replace(" ", "").split("|")[1:-1] for head in heads]
    assert [row[:2] for row in cells] == [["LSTM", "1024,16,768"]] * 2
    assert [row[2:] for row in cells] == [["3.21", "1.98"], ["9.63", "5.94"]]
    reason = "* fast_weights: it is missing (KDA; 5, 3, 2, 7; fla; bfloat16; forward)."
    assert reason in lines


def test_report_says_which_laws_were_not_checked(rows):
    section = make_section("laws", rows)
    section.attempt({"law": "LSTM"}, lambda: {"error": 2e-7, "holds": True})
    section.attempt({"law": "LRU, Scan"}, lambda: {}["missing"])
    text = accelerator_report.report(
        accelerator_report.record_of(accelerator_report.read_rows(rows), "command")
    )
    assert "errors of at most 2e-07 in 1 of 2 checks. Not checked: LRU, Scan." in text
