"""The tests that run a line, those which most probably fail first."""

import ast
import functools
import itertools
import json
from pathlib import Path

from .children import ROOT
from .recording import LINES

TESTS_OF_ROOM = {
    "_core": ("tests/core", "src/seqmem/_core"),
    "_methods": ("tests/methods", "src/seqmem/_methods"),
    "_cells": ("tests/cells", "tests/papers", "tests/laws"),
    "_unroll.py": ("tests/core",),
    "training": ("tests/training", "src/seqmem/training"),
}
TESTS_OF_DEFINITIONS = (
    "tests/core/test_definitions.py",
    "tests/cells/test_defaults.py::test_arguments",
)
MOST_TESTS = 30


class Lines:
    """The records of all test files: which tests run a line of a source, and how long they take."""

    def __init__(self, most_seconds: float, folder: Path = LINES):
        self.most_seconds = most_seconds
        self.seconds: dict[str, float] = {}
        self.tests: dict[str, dict[int, set[str]]] = {}
        for path in sorted(folder.glob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            names = list(content["seconds"])
            self.seconds |= content["seconds"]
            for file, lines in content["lines"].items():
                into = self.tests.setdefault(file, {})
                for line, numbers in lines.items():
                    into.setdefault(int(line), set()).update(names[number] for number in numbers)

    def covering(self, file: str, line: int) -> set[str]:
        """The tests that run the statement. A statement outside of functions, which runs as the
        module is imported, has the tests of the class or function around it, or of the file.
        """
        lines = self.tests.get(file, {})
        for span in spans((ROOT / file).read_text(encoding="utf-8"), line):
            tests = set().union(*(lines.get(number, set()) for number in span))
            if tests:
                return tests
        return set()

    def chosen(self, file: str, line: int) -> list[str]:
        """Tests of the file's own name first, then one of each test file in turn, those of the
        room first; within a file those that run many lines of the source in little time. A
        definition that no test runs has the tests of its room.
        """
        tests = self.covering(file, line)
        is_definition = len(spans((ROOT / file).read_text(encoding="utf-8"), line)) > 1
        if is_definition:
            room = TESTS_OF_DEFINITIONS if tests else _tests_of_room(file)
            tests |= {test for test in self.seconds if test.startswith(room)}
        if is_definition or not tests:  # or a function that runs only as the module is imported
            tests |= {test for test in self.seconds if not _distance(test.split("::")[0], file)}
        sizes = dict.fromkeys(tests, 0)
        for names in self.tests.get(file, {}).values():
            for name in names & tests:
                sizes[name] += 1
        groups: dict[str, list[str]] = {}
        worth = {test: sizes[test] / (0.5 + self.seconds[test]) for test in tests}
        medium = {test: abs(self.seconds[test] - 1) for test in tests}
        for test in sorted(tests, key=lambda test: (-worth[test], medium[test], test)):
            groups.setdefault(test.split("::")[0], []).append(test)
        rooms = sorted(groups, key=lambda name: (_distance(name, file), len(groups[name])))
        turns = itertools.zip_longest(*(groups[name] for name in rooms))
        order = [test for turn in turns for test in turn if test is not None]
        own = [test for test in order if test.startswith(TESTS_OF_DEFINITIONS)]
        own += [test for test in order if _distance(test.split("::")[0], file) == 0][:8]
        return _within_limits(dict.fromkeys(own + order), self.seconds, self.most_seconds)


def _distance(test_file: str, file: str) -> int:
    """0: a test of this file by its name; 1: of its room; 2: of another room."""
    path = Path(file)
    names = [path.stem.strip("_"), *path.relative_to("src/seqmem").parts[1:-1]]
    if any(name in Path(test_file).stem for name in names) or test_file == file:
        return 0
    return 1 if test_file.startswith(_tests_of_room(file)) else 2


def _tests_of_room(file: str) -> tuple[str, ...]:
    room = Path(file).relative_to("src/seqmem").parts[0]
    return (*TESTS_OF_DEFINITIONS, *TESTS_OF_ROOM.get(room, ()))


def _within_limits(
    tests: dict[str, None], seconds: dict[str, float], most_seconds: float
) -> list[str]:
    chosen: list[str] = []
    total = 0.0
    for test in tests:
        if len(chosen) < 5 or total + seconds[test] <= most_seconds:
            chosen.append(test)
            total += seconds[test]
        if len(chosen) == MOST_TESTS:
            break
    return sorted(chosen, key=lambda test: seconds[test] > 2)  # in the same order, long ones last


@functools.lru_cache(maxsize=1)
def _statements(text: str) -> list[ast.stmt]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]


def spans(text: str, line: int) -> list[range]:
    """The lines of the statement at a line and, if that is not in a function's body, of all that it
    stands in, from inner to outer; the last is the whole file.
    """
    every = range(1, text.count("\n") + 2)
    outer = [node for node in _statements(text) if line in _lines_of(node)]
    outer.sort(key=lambda node: len(_lines_of(node)))
    functions = [node for node in outer if isinstance(node, ast.FunctionDef)]
    if not outer:
        return [every, every]
    body = getattr(outer[0], "body", None)
    head = range(_lines_of(outer[0]).start, body[0].lineno) if body else _lines_of(outer[0])
    if any(node.body[0].lineno <= line for node in functions):
        return [head]
    return [head, *map(_lines_of, outer), every]


def _lines_of(node: ast.stmt) -> range:
    """With the decorators."""
    first = min([node.lineno, *(part.lineno for part in getattr(node, "decorator_list", []))])
    return range(first, (node.end_lineno or 0) + 1)
