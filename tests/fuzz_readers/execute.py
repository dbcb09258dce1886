"""One reading of a case: accepted, refused, or a finding."""

import pathlib
import re
import resource
import shutil
import signal
import tracemalloc
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from tests.helpers.refusals import THREE_PARTS

Files = Mapping[str, bytes]  # by their paths in the folder

SECONDS = 10  # of one reading
MEMORY, PROPORTION = 32 * 2**20, 60  # bytes, and bytes for each byte of the files
ADDRESS_SPACE = 4 * 2**30  # more than the process has


class FindingError(Exception):
    """What a reader does that it must not do."""


class _TooLong(BaseException):
    pass


def write_files(folder: pathlib.Path, files: Files) -> None:
    """Make a folder of these files alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def execute(
    read: Callable[[pathlib.Path], Any],
    folder: pathlib.Path,
    files: Files,
    names: tuple[str, ...] = (),
) -> bool:
    """Read a case, and return whether it was accepted.

    Args:
        read: reads the files in a folder.
        folder: where they are written.
        files: the case.
        names: what a message may name in place of a file.

    Raises:
        FindingError: for another error than a `ValueError` in three parts that names a file, and
            for memory or time out of proportion.
    """
    write_files(folder, files)
    size = sum(map(len, files.values()))
    before = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    tracemalloc.start()
    try:
        is_accepted = _is_accepted(read, folder, (str(folder), *files, *names))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    if peak > MEMORY + PROPORTION * size:
        raise FindingError(f"{peak} bytes of memory for files of {size} bytes")
    return is_accepted


def _is_accepted(
    read: Callable[[pathlib.Path], Any], folder: pathlib.Path, names: tuple[str, ...]
) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            read(folder)
    except KeyboardInterrupt:
        raise
    except _TooLong as error:
        raise FindingError(f"more than {SECONDS} seconds") from error
    except BaseException as error:
        message = str(error)
        if type(error) is not ValueError or not THREE_PARTS.match(message):
            raise FindingError(
                f"{type(error).__module__}.{type(error).__name__}: {message}"
            ) from error
        if not any(name in message for name in names):
            raise FindingError(f"a message that names no file: {message}") from error
        return False
    return True


def limit_memory() -> None:
    """Limit the process, so that memory that Python does not count is limited too."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    size = 1024 * int(re.search(r"VmSize:\s+(\d+)", status)[1])
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESS_SPACE,) * 2)


def end_with_hanging_c_code() -> None:
    """Let the system end the process where a library hangs in C, where no signal reaches Python."""
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS + 2)


def _stop(*_: object) -> None:
    raise _TooLong
