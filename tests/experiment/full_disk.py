"""A full disk ends a run with an error that says what to do, and loses nothing.

    python -m tests.experiment.full_disk [--stride 1]                # about two minutes, as root

A small run with checkpoints and tables is started again and again, each time with a little more
space, until it finishes: with 0, 1, 2, ... free pages on a small disk (a tmpfs, which only root can
mount), with 0, 1, 2, ... files that can still be made there, with files that may grow to 0, 100,
200, ... bytes (RLIMIT_FSIZE), and with "no space left" after the first 0, 1, 2, ... of Python's
calls that make, open, rename or sync a file. So the space ends at every point where the run writes.
(--stride 7 tries every seventh of them.) Each time the run ends with an OSError that says what to
do, all checkpoints can be restored, and when there is space again the run resumes from the last one
and ends with the bits and the tables of a run that had space.

Prints a line for each kind; exits with 1 where one of this does not hold.
"""

import argparse
import collections
import contextlib
import errno
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from unittest import mock

from seqmem import experiment
from tests.experiment.runs import (
    assert_same_bits,
    init_state,
    read_table,
    train,
    validation_metrics,
)
from tests.experiment.trees import max_file_size

STEPS, PAGE = 7, 4096
Fault = Callable[[pathlib.Path, int], contextlib.AbstractContextManager]


def run(folder: pathlib.Path):
    validation = experiment.Validation(validation_metrics, every=3)
    state, progress = train(STEPS, folder, validation=validation)
    return state, (progress, read_table(folder), read_table(folder, "validation"))


@contextlib.contextmanager
def few_pages(disk: pathlib.Path, count: int) -> Iterator[None]:
    """Leave some free pages on a disk."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize // PAGE
        filler.write(bytes((free - count) * PAGE))
        try:
            yield
        finally:
            filler.truncate(0)


@contextlib.contextmanager
def few_files(disk: pathlib.Path, count: int) -> Iterator[None]:
    """Leave room for some more files on a disk."""
    paths = [disk / f"filler {i}" for i in range(os.statvfs(disk).f_ffree - count)]
    for path in paths:
        path.touch()
    try:
        yield
    finally:
        for path in paths:
            path.unlink()


@contextlib.contextmanager
def small_files(disk: pathlib.Path, count: int) -> Iterator[None]:
    with max_file_size(100 * count):
        yield


@contextlib.contextmanager
def failed_call(disk: pathlib.Path, count: int) -> Iterator[None]:
    """Let all of Python's calls fail after some that made, renamed or synced a file."""
    calls = itertools.count()

    def failing(function):
        def call(*args, **options):
            if next(calls) >= count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*args, **options)

        return call

    names = ("mkdir", "rename", "replace", "fsync", "open")
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(os, name, failing(getattr(os, name))))
        yield


def try_once(fault: Fault, disk: pathlib.Path, count: int, expected: tuple) -> str:
    """A run with little space, and then with enough: what it could not write, or "finished"."""
    folder, message = disk / "run", ""
    with fault(disk, count):
        try:
            run(folder)
        except OSError as error:
            message = str(error)
    if message and not ("Expected: free space" in message and "What to do: free" in message):
        return f"WRONG message: {message}"
    checkpoints = experiment.Checkpoints(folder / "checkpoints")
    like = {"state": init_state(), "key": init_state()["key"]}
    for position in checkpoints.positions():
        checkpoints.restore(like, position)
    state, rest = run(folder)
    assert_same_bits(state, expected[0])
    assert rest == expected[1]
    shutil.rmtree(folder)
    kinds = ("the checkpoint", "a row", "the folder", "the old")
    return next((kind for kind in kinds if message.startswith(kind)), message or "finished")


def try_all(name: str, fault: Fault, disk: pathlib.Path, expected: tuple, stride: int) -> bool:
    """Give a run more and more space until it finishes. Whether all went well."""
    outcomes, start = collections.Counter(), time.perf_counter()
    for count in itertools.count(step=stride):
        outcome = try_once(fault, disk, count, expected)
        outcomes[outcome] += 1
        if outcome == "finished":
            break
    print(f"{name}: {dict(outcomes)}, {time.perf_counter() - start:.0f} s", flush=True)
    return not any(outcome.startswith("WRONG") for outcome in outcomes)


@contextlib.contextmanager
def small_disk() -> Iterator[pathlib.Path | None]:
    """A tmpfs of 1 MiB and 500 files; None where it cannot be mounted."""
    with tempfile.TemporaryDirectory() as place:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=500", "tmpfs", place]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            yield None
            return
        try:
            yield pathlib.Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stride", type=int, default=1)
    stride = parser.parse_args().stride
    with tempfile.TemporaryDirectory() as place, small_disk() as disk:
        expected, is_right = run(pathlib.Path(place, "expected")), []
        faults = {"bytes of a file": small_files, "failed calls": failed_call}
        for name, fault in faults.items():
            is_right.append(try_all(name, fault, pathlib.Path(place), expected, stride))
        if disk is None:
            print("no small disk: only root can mount a tmpfs")
        else:
            is_right.append(try_all("pages of a disk", few_pages, disk, expected, stride))
            is_right.append(try_all("files of a disk", few_files, disk, expected, stride))
    if not all(is_right):
        print("a full disk did harm")
    sys.stdout.flush()
    # Threads of Orbax wait five minutes for a folder that could not be made.
    os._exit(not all(is_right))


if __name__ == "__main__":
    main()
