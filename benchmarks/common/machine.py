"""The machine of a measurement: its kind, its cores, and how busy other programs kept it."""

import os
import pathlib
import platform
import re
import time
from collections.abc import Callable, Sequence

import jax

from seqmem._core.cpu_cores import available_cores as available_cores

IDLE_CORES = 0.1  # other programs may use this many cores of a machine that counts as idle


def track_other_load() -> Callable[[], float | None]:
    """A function that returns how many cores other programs, and other guests of the same host,
    have used on average since `track_other_load` was called; None where that is unknown.
    """
    wall, process, busy = time.perf_counter(), time.process_time(), _busy_seconds()

    def other_cores() -> float | None:
        busy_now = _busy_seconds()
        if busy is None or busy_now is None:
            return None
        others = (busy_now - busy) - (time.process_time() - process)
        return max(0.0, others / (time.perf_counter() - wall))

    return other_cores


def load_note(loads: Sequence[float | None]) -> str:
    """A sentence on whether the machine was idle in each of several measurements."""
    known = [load for load in loads if load is not None]
    if len(known) < len(loads):
        return "Whether the machine was idle is unknown."
    busy = [load for load in known if load >= IDLE_CORES]
    if not busy:
        return "The machine was idle."
    return (
        f"THE MACHINE WAS NOT IDLE: other programs used up to {max(busy):.1f} cores in "
        f"{len(busy)} of {len(loads)} measurements. Repeat them."
    )


def machine_kind() -> str:
    """The kind of machine, never its name: "2-core x86-64 CPU (AMD EPYC)"."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{device.device_kind} {device.platform.upper()}"
    kind = platform.machine().replace("_", "-")
    return f"{available_cores()}-core {kind} CPU ({_processor()})"


def _busy_seconds() -> float | None:
    """Busy seconds of all cores since the machine started; known on Linux only."""
    try:
        line = pathlib.Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, *rest = map(int, line.split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown"
    match = re.search(r"^model name\s*:\s*(.*)$", lines, re.MULTILINE)
    name = match.group(1) if match else platform.processor() or "unknown"
    name = re.sub(r"\((R|TM)\)|\bProcessor\b|\bCPU\b|@.*|\d+-Core", "", name)
    return " ".join(name.split())
