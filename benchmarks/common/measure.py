"""What every benchmark here needs: how long, how large, where it ran, and a place to write."""

import datetime
import gc
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax


class Compiled(NamedTuple):
    """A program that runs, what XLA took to build it, and the temporaries it will take."""

    call: Callable[..., Any]
    seconds: float
    temp_bytes: int


def compile_for(function: Callable[..., Any], *args: Any) -> Compiled:
    """Trace, lower and compile for these arguments, from nothing."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    seconds = time.perf_counter() - start
    return Compiled(compiled, seconds, compiled.memory_analysis().temp_size_in_bytes)


def interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int, seed: int = 0
) -> dict[str, list[float]]:
    """Seconds of each call in each round, where a call returns when its work is done.

    All are called once per round, so that a noisy machine hits all alike, and in a new order each
    round: what one leaves behind (full caches, threads that still spin) then meets all alike too.
    """
    order = list(calls)
    shuffle = random.Random(seed).shuffle
    seconds = {name: [] for name in calls}
    for call in calls.values():
        call()
    gc.collect()
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Sequence[float], base: Sequence[float]) -> float:
    """Median over the rounds of one library's time over another's in the same round."""
    return statistics.median(a / b for a, b in zip(seconds, base, strict=True))


def geometric_mean(values: Iterable[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def cores() -> int:
    """Cores this process may use, which are also XLA's threads."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def others() -> Callable[[], float | None]:
    """Cores that other processes, and other guests of the host, keep busy from now to the call."""
    wall, own, busy = time.perf_counter(), time.process_time(), _busy_seconds()

    def cores_taken() -> float | None:
        now = _busy_seconds()
        if busy is None or now is None:
            return None
        taken = (now - busy) - (time.process_time() - own)
        return max(0.0, taken / (time.perf_counter() - wall))

    return cores_taken


def _busy_seconds() -> float | None:
    """All cores together, since the machine's start; known on Linux only."""
    try:
        line = pathlib.Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, *rest = map(int, line.split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """The kind of machine, never its name: "2-core x86-64 CPU (AMD EPYC)"."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{device.device_kind} {device.platform.upper()}"
    kind = platform.machine().replace("_", "-")
    return f"{cores()}-core {kind} CPU ({_processor()})"


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown"
    found = re.search(r"^model name\s*:\s*(.*)$", lines, re.MULTILINE)
    name = found.group(1) if found else platform.processor() or "unknown"
    name = re.sub(r"\((R|TM)\)|\bProcessor\b|\bCPU\b|@.*|\d+-Core", "", name)
    return " ".join(name.split())


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def provenance(module: str, packages: Sequence[str]) -> dict[str, Any]:
    """What a number is worth nothing without. The command says no `--out`: that path is private."""
    words = iter(sys.argv[1:])
    command = ["python", "-m", module]
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            command.append(word)
    found = {package: version(package) for package in packages}
    return {
        "machine": machine(),
        "platform": jax.devices()[0].platform,
        "versions": {"python": platform.python_version(), **{k: v for k, v in found.items() if v}},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": " ".join(command),
    }


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table with padded cells, so that a terminal shows it well too."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = ("-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths))
    return "\n".join([line(head), f"| {' | '.join(rule)} |", *map(line, rows)])


def write(folder: str, name: str, record: Mapping[str, Any], markdown: str) -> list[pathlib.Path]:
    """`name_cpu.json` and `name_cpu.md`, named with the platform of the record."""
    stem = pathlib.Path(folder) / f"{name}_{record['platform']}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    json_path, markdown_path = stem.with_suffix(".json"), stem.with_suffix(".md")
    json_path.write_text(json.dumps(record, indent=1) + "\n")
    markdown_path.write_text(markdown + "\n")
    return [json_path, markdown_path]
