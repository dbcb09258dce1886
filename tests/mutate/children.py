"""Child processes that start with the libraries imported, but nothing of seqmem or of the tests."""

import contextlib
import dataclasses
import importlib.metadata
import itertools
import os
import resource
import runpy
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
# Some tests are of one version of JAX.
FOLDER = ROOT / "build" / "mutate" / f"jax-{importlib.metadata.version('jax')}"
LIBRARIES = (
    "beartype", "chex", "equinox", "hypothesis", "jax.experimental.pallas", "jaxtyping", "numpy",
    "optax", "pytest", "xdist",
)  # fmt: skip
# The libraries that are imported already cannot be rewritten for better messages.
OPTIONS = (
    "-n0", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip


def import_libraries() -> None:
    """JAX with the flags of the tests, and what the tests import. JAX starts no threads here.

    Children share what they compile: most programs of a trial are those of the one before.
    """
    sys.dont_write_bytecode = False
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(FOLDER / "programs"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    runpy.run_path(str(ROOT / "conftest.py"))
    for name in LIBRARIES:
        importlib.import_module(name)
    sys.path[:0] = [str(ROOT / "src")]


@dataclasses.dataclass
class Task:
    """A function that a child calls; its result is the exit status. `tag` says whose it is.

    Seconds are those of a processor, since other programs may be running; a child that waits for
    nothing is killed, with its process group, after ten times as many.
    """

    work: Callable[[], int]
    seconds: float
    tag: Any = None


@dataclasses.dataclass
class Ended:
    """A task that ended: its exit status, negative for a signal, None after too many seconds.
    `seconds` are those of the clock.
    """

    tag: Any
    status: int | None
    seconds: float
    output: str


def run_all(tasks: Iterable[Task], jobs: int) -> Iterator[Ended]:
    """Runs tasks in children, so many at a time, and yields each as it ends."""
    waiting = iter(tasks)
    running: dict[int, tuple[Task, float, Path]] = {}
    try:
        while True:
            for task in itertools.islice(waiting, jobs - len(running)):
                handle, name = tempfile.mkstemp(prefix="mutate-")
                running[_start(task, handle)] = task, time.monotonic(), Path(name)
                os.close(handle)
            if not running:
                return
            pid, status = _wait(running)
            task, start, output = running.pop(pid)
            seconds = round(time.monotonic() - start, 1)
            yield Ended(
                task.tag, status, seconds, output.read_text(encoding="utf-8", errors="replace")
            )
            output.unlink()
    finally:
        for pid in running:
            _kill(pid)


def _start(task: Task, output: int) -> int:
    """The process id of a child in a process group of its own."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(task.seconds), resource.RLIM_INFINITY))
        status = int(task.work())
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def _wait(running: dict[int, tuple[Task, float, Path]]) -> tuple[int, int | None]:
    while True:
        for pid, (task, start, _) in running.items():
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return pid, None if code == -signal.SIGXCPU else code
            if time.monotonic() > start + 10 * task.seconds:
                _kill(pid)
                return pid, None
        time.sleep(0.02)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
