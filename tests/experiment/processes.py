"""The processes of a training run that is killed, and what differs between two runs."""

import json
import os
import pathlib
import select
import signal
import socket
import statistics
import sys
import time
import traceback

import jax
import orbax.checkpoint  # noqa: F401, before the forks

from tests.experiment.character_run import SAVE, SAVED, STEP, train

PATIENCE = 300  # seconds without a step, after which a run has failed


class Processes:
    """The processes of one run, each a fork of this one, which has imported everything and run
    nothing, to save the imports.

    Args:
        folder: the folder of the run.
        steps: steps of the whole run.
        count: how many processes.
        limit: steps of these processes, after which they wait to be killed; None: no limit.
    """

    def __init__(self, folder: pathlib.Path, steps: int, count: int, limit: int | None = None):
        folder.mkdir(exist_ok=True)
        self.count, self.num_steps, self._log = count, 0, folder / "log"
        self._save_seconds, self._save_start = [], 0.0
        self._events, write_end = os.pipe()
        port = _free_port()
        sys.stdout.flush()
        self._children = [os.fork() or _child(folder, steps, count, i, port, write_end, limit)
                          for i in range(count)]  # fmt: skip
        os.close(write_end)

    def run_to_end(self) -> float:
        """Wait for the end, and return the median time of a save."""
        while self._read():
            pass
        for child in self._children:
            _, status = os.waitpid(child, 0)
            if status:
                self._fail(f"status {status}")
        os.close(self._events)
        return statistics.median(self._save_seconds)

    def expect_refusal(self, message: str) -> None:
        """Wait for the end, which must be an error."""
        while self._read():
            pass
        statuses = [os.waitpid(child, 0)[1] for child in self._children]
        os.close(self._events)
        if 0 in statuses or message not in self._log.read_text(errors="replace"):
            self._fail(f"no error: {message}")

    def wait_for_steps(self, count: int) -> None:
        while self.num_steps < count:
            if not self._read():
                self._fail("no process is left")

    def wait_for_save(self, after: int) -> None:
        """Wait for the start of the first save after some steps."""
        while (event := self._read()) != SAVE or self.num_steps < after:
            if not event:
                self._fail("no process is left")

    def kill(self, first: int, alone: float) -> None:
        """Kill all processes by SIGKILL.

        Args:
            first: which of them is killed first.
            alone: seconds that the others have.
        """
        order = self._children[first:] + self._children[:first]
        os.kill(order[0], signal.SIGKILL)
        if self.count > 1:
            time.sleep(alone)
        for child in order[1:]:
            os.kill(child, signal.SIGKILL)
        while self._read():
            pass
        os.close(self._events)
        statuses = [os.waitpid(child, 0)[1] for child in order]
        # The others may have ended by themselves.
        if not (os.WIFSIGNALED(statuses[0]) and os.WTERMSIG(statuses[0]) == signal.SIGKILL):
            self._fail(f"status {statuses[0]} before the kill")
        if 0 in statuses:
            self._fail("a process finished without the others")

    def _read(self) -> bytes:
        """The next event of the first process; nothing after the last."""
        if not select.select([self._events], [], [], PATIENCE)[0]:
            self._fail(f"no step for {PATIENCE} s")
        event = os.read(self._events, 1)
        self.num_steps += event == STEP
        if event == SAVE:
            self._save_start = time.perf_counter()
        if event == SAVED:
            self._save_seconds.append(time.perf_counter() - self._save_start)
        return event

    def _fail(self, reason: str) -> None:
        log = self._log.read_text(errors="replace")[-5000:] if self._log.exists() else ""
        raise SystemExit(f"the run failed: {reason}\n{log}")


def _child(
    folder: pathlib.Path,
    steps: int,
    count: int,
    index: int,
    port: int,
    write_end: int,
    limit: int | None,
) -> int:
    """Train; the first process writes its events to the pipe. Never returns."""
    num_steps = 0

    def report(event: bytes) -> None:
        nonlocal num_steps
        if index == 0:
            os.write(write_end, event)
        num_steps += event == STEP
        if event == STEP and num_steps == limit:
            signal.pause()

    code = 1
    try:
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, sys.stdout.fileno())
        os.dup2(log, sys.stderr.fileno())
        if count > 1:
            jax.distributed.initialize(f"127.0.0.1:{port}", count, index)
        train(folder, steps, report)
        if count > 1:
            jax.distributed.shutdown()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def read_rows(folder: pathlib.Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
    """What differs between two runs."""
    names = []
    if (one / "end").read_bytes() != (other / "end").read_bytes():
        names.append("parameters, optimiser, state or key")
    for name in ("training", "validation"):
        if read_rows(one, name) != read_rows(other, name):
            names.append(f"the table {name}")
        if (one / f"{name}.csv").read_bytes() != (other / f"{name}.csv").read_bytes():
            names.append(f"{name}.csv")
    return names
