"""The tool that measures the mutation score."""

import importlib.util
import json

import pytest

pytest.importorskip("cosmic_ray")

from .mutants import positions
from .results import Score, Trial, is_explained
from .selection import Lines, spans
from .trial import MutantFinder, failed_tests, module_of

TEXT = '''
"""A module with 1 number in its docstring."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    LEVEL = 2


class Gate:
    size: "int | None" = 3

    def open(self, steps: "int | 4", *, scale=5) -> "float | 6":
        """Returns 7."""
        if steps < 8:
            raise ValueError(f"{steps + 9} steps " + "are too few" * 10)
        return scale * steps
'''


def test_mutants_leave_out_annotations_docstrings_and_messages():
    lines = TEXT.splitlines()
    seen = {
        (name.split("/")[1], lines[line - 1][column:][:1])
        for name, _, (line, column) in positions(TEXT)
    }
    assert seen == {
        ("NumberReplacer", "3"),
        ("NumberReplacer", "5"),
        ("NumberReplacer", "8"),
        ("AddNot", "s"),
        ("ReplaceComparisonOperator_Lt_LtE", "<"),
        ("ReplaceComparisonOperator_Lt_GtE", "<"),
        ("ReplaceBinaryOperator_Mul_Div", "*"),
    }


def test_mutated_source_is_loaded_in_place_of_the_file(tmp_path):
    path = tmp_path / "gate.py"
    path.write_text("size = 3")
    spec = MutantFinder("room.gate", str(path), "size = 4").find_spec("room.gate")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.size == 4
    assert MutantFinder("room.gate", str(path), "size = 4").find_spec("room.other") is None
    assert module_of("src/seqmem/_core/cell.py") == "seqmem._core.cell"
    assert module_of("src/seqmem/training/__init__.py") == "seqmem.training"


def test_statement_outside_of_functions_is_tested_with_all_around_it():
    field, head, body = (spans(TEXT, line) for line in (11, 13, 17))
    assert field == [range(11, 12), range(11, 12), range(10, 18), range(1, 19)]
    assert head == [range(13, 14), range(13, 18), range(10, 18), range(1, 19)]
    assert body == [range(17, 18)]
    assert spans("@frozen\nclass Gate:\n    size = 3\n", 1)[:2] == [range(1, 3), range(1, 4)]


def test_tests_of_the_file_come_first_and_long_ones_last(tmp_path):
    names = [
        "tests/laws/test_laws.py::test_a",
        "tests/core/test_packing.py::test_b",
        "tests/core/test_packing.py::test_c",
        "tests/core/test_mask.py::test_d",
        "tests/core/test_packing.py::test_other_line",
    ]
    lines = {"1": [4], "146": [0, 1, 2, 3]}
    record = {
        "seconds": dict(zip(names, (0.1, 0.2, 9.0, 0.3, 0.1), strict=True)),
        "lines": {"src/seqmem/_core/packing.py": lines},
    }
    (tmp_path / "all.json").write_text(json.dumps(record))
    chosen = Lines(25, tmp_path).chosen("src/seqmem/_core/packing.py", 146)
    assert chosen == [names[1], names[3], names[0], names[2]]


def test_score_counts_neither_mutants_that_are_explained_nor_those_untried():
    score = Score(caught=9, survived=1, explained=5)
    assert (score.tried, score.share) == (10, 0.9)
    assert score.interval() == pytest.approx((0.596, 0.982), abs=5e-4)


def test_explanation_is_of_one_mutant_of_one_line():
    trial = Trial("a.py", "0", 3, "x = 1", "x = 2", "survived", 5, 1.0)
    assert is_explained(trial, {("a.py", "x = 1", "x = 2"): "equal"})
    assert is_explained(trial, {("a.py", "x = 1", "*"): "equal"})
    assert not is_explained(trial, {("a.py", "x = 1", "x = 0"): "equal"})
    assert not is_explained(trial, {("b.py", "x = 1", "*"): "equal"})


def test_failed_tests_are_read_from_the_summary():
    output = ".F\nFAILED tests/a.py::test_b[3] - assert 1\nERROR tests/c.py\n1 failed"
    assert list(failed_tests(output)) == ["tests/a.py::test_b[3]", "tests/c.py"]
