"""Every figure of an accelerator, in at most eight minutes on one GPU.

    python -m benchmarks.cost.accelerator [--seconds 470] [--only laws gated] [--smoke]

Sections, each in a process of its own, so that one that crashes, hangs or fills the memory leaves
the others alone:

* device: the bandwidth of a copy; the cost of an iteration of an empty loop;
* laws: outputs and gradients against float64 on the CPU. Where they differ, all times mean nothing;
* gated: LSTM and GRU against PyTorch and `jax.experimental.rnn` (both cuDNN) and a plain scan;
* diagonal: s_t = a_t ∘ s_{t−1} + b_t by chunks of several sizes, as shares of the copy's bandwidth;
* fast_weights: matrix memories, beside fla and jax-linear-attention where they can be imported;
* flags: an LSTM under flags of XLA:GPU that record loops in command buffers, and others;
* gradient_norms: the study of that name at the size of a GPU.

Every row is written when it is measured, as a line of JSON with the device, versions and precision:
a number, or the reason why there is none. So a run that is cut short keeps its rows. A section has
its share of the time that is left, stops there, and is killed a little later. The report is made
from the lines after each section. A section that runs again replaces its own lines only; `--only`
without names makes nothing but the report.

Programs compile side by side, then each is timed alone, by queues of calls after three warm-up
calls. Nothing is donated. XLA chooses matrix products by timing them while it compiles, beside
other programs, so a row that surprises deserves a second run. Compiling takes most of the time: a
second run within JAX_COMPILATION_CACHE_DIR is faster. `--smoke` runs tiny shapes on any machine.
"""

import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping

from ..common.options import positive_float
from ..common.records import as_json, command_line, without_paths, write_record
from .accelerator_report import device_of, read_rows, record_of, report
from .accelerator_sections.flags import FLAGS, READY, SMOKE_FLAGS
from .accelerator_sections.section import append_row

SHARES = {  # of the time, in seconds of a run of 470
    "device": 15,
    "laws": 50,
    "gated": 140,
    "diagonal": 50,
    "fast_weights": 115,
    "flags": 60,
    "gradient_norms": 40,
}
GRACE = 3.0  # seconds between a section's end and that of its process
NAMES = {False: "accelerator", True: "accelerator_smoke"}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--seconds", type=positive_float, default=470.0, help="for all sections together")
    add("--only", nargs="*", choices=SHARES, default=list(SHARES), metavar="SECTION")
    add("--smoke", action="store_true", help="tiny shapes: does every section run?")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def run_section(name: str, rows: pathlib.Path, seconds: float, smoke: bool) -> None:
    """Run a section, which adds its rows to the file, and a row for each process that failed."""
    command = [sys.executable, "-m", f"{__package__}.accelerator_sections", name]
    command += ["--rows", str(rows), "--until", str(time.time() + seconds - GRACE)]
    command += ["--smoke"] if smoke else []
    if name != "flags":
        commands, flags = {name: command}, {name: ""}
    else:
        flags = {tag: FLAGS[tag] for tag in (SMOKE_FLAGS if smoke else FLAGS)}
        commands = {tag: [*command, "--flags", tag] for tag in flags}
    environments = {tag: environment_of(value, smoke) for tag, value in flags.items()}
    reasons = run_processes(commands, environments, seconds)
    device = device_of(row for row in read_rows(rows) if row["section"] == name)
    for tag, reason in reasons.items():
        labels = {"flags": tag} if name == "flags" else {}
        row = {"section": name, **labels, "failure": reason, **device, "smoke": smoke}
        append_row(rows, row)


def environment_of(flags: str, smoke: bool) -> dict[str, str]:
    """The environment of a section's process, with flags of XLA besides those that are set."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {flags}".strip()
    environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory too
    if smoke:
        environment.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")  # compiles faster
    return environment


def run_processes(
    commands: Mapping[str, list[str]], environments: Mapping[str, dict[str, str]], seconds: float
) -> dict[str, str]:
    """Run processes, and return why those failed that did.

    All start at once. A process that prints READY waits; when all have printed it or ended, each in
    turn is sent a line and runs to its end. When the time is over, they are killed.
    """
    killed: set[str] = set()
    reasons: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        errors = {tag: stack.enter_context(tempfile.TemporaryFile("w+")) for tag in commands}
        processes = {
            tag: subprocess.Popen(
                command,
                env=environments[tag],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors[tag],
                text=True,
            )
            for tag, command in commands.items()
        }

        def kill() -> None:
            for tag, process in processes.items():
                if process.poll() is None:
                    killed.add(tag)
                    process.kill()

        stack.callback(kill)
        timer = threading.Timer(max(0.0, seconds), kill)
        stack.callback(timer.cancel)
        timer.start()
        for process in processes.values():
            while process.stdout.readline() not in (f"{READY}\n", ""):
                pass  # what libraries print
        for process in processes.values():
            process.communicate("\n")
        for tag, process in processes.items():
            errors[tag].seek(0)
            last = (errors[tag].read().strip().splitlines() or [""])[-1]
            if tag in killed:
                reasons[tag] = f"its {seconds:.0f} seconds were over, and it was killed"
            elif process.returncode:
                reasons[tag] = f"it ended with {process.returncode}: {without_paths(last)[:200]}"
    return reasons


def write_report(options: argparse.Namespace, rows: pathlib.Path) -> str:
    """Write the report of all rows of the file."""
    record = record_of(read_rows(rows), command_line("benchmarks.cost.accelerator"))
    markdown = report(record)
    write_record(options.out, NAMES[options.smoke], record, markdown)
    return markdown


def main() -> None:
    options = parse_options()
    end = time.monotonic() + options.seconds
    rows = pathlib.Path(options.out) / f"{NAMES[options.smoke]}_rows.jsonl"
    rows.parent.mkdir(parents=True, exist_ok=True)
    others = [row for row in read_rows(rows) if row["section"] not in options.only]
    rows.write_text("".join(as_json(row, indent=None) for row in others))
    sections = [section for section in SHARES if section in options.only]
    for i, section in enumerate(sections):
        start = time.monotonic()
        share = SHARES[section] / sum(SHARES[later] for later in sections[i:])
        run_section(section, rows, share * (end - start), options.smoke)
        print(f"{section}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        write_report(options, rows)
    print(write_report(options, rows))
    print("wrote the results to", options.out, file=sys.stderr)


if __name__ == "__main__":
    main()
