"""Which tests run which lines: a quick test file is recorded in a child of its own."""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .children import FOLDER, OPTIONS, ROOT

SOURCES = ROOT / "src" / "seqmem"
LINES = FOLDER / "lines"


# These tests run other programs, or all pages of the documentation.
EXCLUDED = ("tests/benchmarks", "tests/fuzz", "tests/mutate", "tests/package")
ROOMS = ("_core", "_methods", "_unroll.py", "_cells", "training")  # whose examples are tests
INCLUDED = ("tests/package/test_cite.py", "tests/package/test_names.py")
# Any other status of pytest is that of a file that does not run, such as one that does not import.
RAN = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


def quick_test_files() -> list[str]:
    """The test files that are recorded, and the folders whose examples are."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    names = [str(path.relative_to(ROOT)) for path in paths]
    names = [name for name in names if not name.startswith(EXCLUDED) or name in INCLUDED]
    return [*(f"src/seqmem/{room}" for room in ROOMS), *names]


class Recorder:
    """A plugin of pytest: each test is a context of coverage, and its seconds are kept."""

    def __init__(self, coverage: Any):
        self.coverage = coverage
        self.seconds: dict[str, float] = {}
        self.failures: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        self.coverage.switch_context(item.nodeid)
        start = time.process_time()
        result = yield
        self.seconds[item.nodeid] = round(time.process_time() - start, 3)
        self.coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":
            self.failures.add(report.nodeid)


def record(test_file: str) -> int:
    """Writes the lines that each test of a file runs; to be called in a child.

    Returns:
        0, or the status of pytest where it could not run the file.
    """
    from coverage import Coverage

    coverage = Coverage(data_file=None, config_file=False, source=[str(SOURCES)])
    coverage.set_option("run:core", "ctrace")
    recorder = Recorder(coverage)
    coverage.start()
    status = pytest.main([*OPTIONS, test_file], plugins=[recorder])
    coverage.stop()
    if status not in RAN:
        return int(status)
    data = coverage.get_data()
    tests = [test for test in recorder.seconds if test not in recorder.failures]
    number = {test: index for index, test in enumerate(tests)}
    lines: dict[str, dict[int, list[int]]] = {}
    for file in data.measured_files():
        for line, contexts in data.contexts_by_lineno(file).items():
            numbers = sorted(number[context] for context in contexts if context in number)
            if numbers:
                lines.setdefault(str(Path(file).relative_to(ROOT)), {})[line] = numbers
    content = {
        "digest": digest([test_file, *lines]),
        "seconds": {test: recorder.seconds[test] for test in tests},
        "lines": lines,
    }
    path = file_of(test_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return 0


def file_of(test_file: str) -> Path:
    return LINES / (test_file.replace("/", ".") + ".json")


def digest(files: list[str]) -> str:
    """Of the test file and of the sources that it runs: if one changes, the record is stale."""
    texts = [(ROOT / file).read_bytes() for file in sorted(files) if (ROOT / file).is_file()]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def is_fresh(test_file: str) -> bool:
    path = file_of(test_file)
    if not path.exists():
        return False
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["digest"] == digest([test_file, *content["lines"]])
