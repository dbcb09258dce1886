"""The readers of files return or refuse, whatever a file holds; and the fuzzer can fail."""

import random

import pytest

from . import readers
from .execute import FindingError, execute, write_files
from .mutate import change
from .reader import Reader, draw
from .search import search

QUICK = [name for name, reader in readers.ALL.items() if reader.quick_cases]


def run(name, folder, seed, cases):
    """Read the seeds, then cases."""
    reader = readers.ALL[name]
    if name not in readers.installed():
        pytest.skip(f"{reader.package} is not installed")
    for parts in reader.seeds():
        write_files(folder / "seed", reader.pack(random.Random(3), parts))
        reader.read(folder / "seed")
    counts, finding = search(name, reader, folder, seed, cases=cases)
    assert finding is None, finding
    assert counts.refused + counts.accepted == cases
    assert counts.refused


@pytest.mark.parametrize("name", QUICK)
def test_reader_returns_or_refuses(name, tmp_path):
    run(name, tmp_path, 0, readers.ALL[name].quick_cases)


@pytest.mark.slow
@pytest.mark.parametrize("name", readers.ALL)
def test_reader_returns_or_refuses_for_longer(name, tmp_path):
    reader = readers.ALL[name]
    run(name, tmp_path, 1, 20 if reader.library else max(40, 20 * reader.quick_cases))


@pytest.mark.parametrize(
    ("read", "finding"),
    [
        (lambda folder: {}["x"], "builtins.KeyError"),
        (lambda folder: int("x"), "builtins.ValueError: invalid literal"),
        (lambda folder: bytes(10**8), "100000"),
        (lambda folder: execute_refusal(), "names no file"),
    ],
)
def test_fuzzer_finds_other_errors_and_memory(read, finding, tmp_path):
    reader = Reader(read, lambda: [{"file": b"abc"}])
    _, came = search("reader", reader, tmp_path, 0, cases=1)
    assert finding in came


def execute_refusal():
    raise ValueError("bad.\n  Expected: good.\n  What to do: nothing.")


def test_fuzzer_finds_a_reader_that_never_returns(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.fuzz_readers.execute.SECONDS", 0.05)

    def read(folder):
        while True:
            pass

    with pytest.raises(FindingError, match="seconds"):
        execute(read, tmp_path / "case", {"file": b""})


def test_case_of_an_index_is_always_the_same():
    reader = Reader(None, lambda: [])
    parts = [{"a": bytes(range(100)), "b": b'{"x": [1, {"y": 2}]}'}]
    cases = [draw(reader, "name", 5, index, parts) for index in range(50)]
    assert cases == [draw(reader, "name", 5, index, parts) for index in range(50)]
    assert len({str(case) for case in cases}) > 40


def test_changes_keep_a_length_before_json_right():
    content = (len(b'{"x": 1}')).to_bytes(8, "little") + b'{"x": 1}rest'
    lengths = set()
    for seed in range(300):
        changed = change(random.Random(seed), content, [content])
        length = int.from_bytes(changed[:8], "little")
        lengths.add(length if changed[8 + length :] == b"rest" else None)
    assert len(lengths) > 5
