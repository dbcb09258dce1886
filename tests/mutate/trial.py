"""One trial: the chosen tests run in a child whose seqmem has a mutated module."""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from .children import OPTIONS, ROOT


class MutantFinder:
    """Finds one module, and gives it another source; a plugin of pytest."""

    def __init__(self, module: str, path: str, source: str):
        self.module, self.loader = module, MutantLoader(module, path)
        self.loader.source = source

    def pytest_sessionstart(self) -> None:
        """pytest puts a finder of its own first, which reads the files of the tests."""
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.module:
            return None
        return importlib.util.spec_from_file_location(name, self.loader.path, loader=self.loader)


class MutantLoader(importlib.machinery.SourceFileLoader):
    """Compiles the mutated source and reads no compiled file."""

    source = ""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec", dont_inherit=True)


def module_of(file: str) -> str:
    parts = Path(file).relative_to("src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def run_tests(tests: Sequence[str], file: str = "", source: str = "") -> int:
    """The exit status of pytest; to be called in a child. Without a file nothing is mutated."""
    if not file:
        return int(pytest.main([*OPTIONS, "-rfE", "--tb=line", *tests]))
    module = module_of(file)
    assert module not in sys.modules
    finder = MutantFinder(module, str(ROOT / file), source)
    return int(pytest.main([*OPTIONS, "-x", "-rfE", "--tb=line", *tests], plugins=[finder]))


def failed_tests(output: str) -> Iterator[str]:
    """From the summary that pytest prints."""
    for line in output.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            yield line.split(" ", 1)[1].split(" - ")[0]
