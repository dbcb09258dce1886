"""What a GPU is asked to launch, counted in programs compiled for an NVIDIA H200 that is not there.

    pip install '.[aot]'
    python -m benchmarks.cost.launches [--only LSTM GLA] [--targets h200] [--before d7fcdde]

For every kind of cell, by its default method: the launches of the forward pass and of the gradient
of the sum of squared outputs with respect to the parameters, from XLA's optimised HLO, and the
temporaries, by XLA's own analysis; the temporaries on one chip of a TPU v5e too. Nothing runs on an
accelerator, so there are no times. XLA does not tune its products without a device: on one, it may
choose others, with other launches.

The counts of a cell are printed, and written to the results, as soon as they are known; those of
other cells stay as they are. `--before` counts the same in the sources of another commit of this
checkout.
"""

import argparse
import io
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

import jax

from ..common.aot import missing_compiler
from ..common.records import Row, markdown_table, provenance, versions_text, write_record
from .launch_cases import BATCH, CASES

ROOT = pathlib.Path(__file__).parent.parent.parent
MODULE = "benchmarks.cost.launches"
COUNT = """
import json, sys
from benchmarks.cost.launch_cases import CASES, measure
print(json.dumps(measure(CASES[sys.argv[1]], sys.argv[2])))
"""
PACKAGES = ("seqmem", "jax", "jaxlib", "jax-cuda13-plugin", "nvidia-cuda-nvcc", "libtpu")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--only", nargs="+", choices=CASES, default=list(CASES))
    add("--targets", nargs="+", choices=("h200", "v5e"), default=["h200", "v5e"])
    add("--before", metavar="COMMIT", help="count in the sources of this commit, for comparison")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def measure_apart(name: str, target: str, commit: str | None = None) -> Row:
    """`measure` in a process of its own, which a compiler may crash.

    Args:
        name: of the case.
        target: "h200" or "v5e".
        commit: whose sources of seqmem are used; None is those of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(ROOT), *sys.path]
        if commit is not None:
            command = ["git", "archive", commit, "src"]
            archive = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
            with tarfile.open(fileobj=io.BytesIO(archive)) as sources:
                sources.extractall(folder, filter="data")
            paths.insert(0, f"{folder}/src")
        environment = {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-c", COUNT, name, target],
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
    if done.returncode == 0:
        return json.loads(done.stdout)
    lines = done.stderr.splitlines()
    reason = next((line for line in lines if "Check failed" in line), lines[-1])
    return {"failure": f"exit code {done.returncode}, {reason.partition('] ')[2] or reason:.120}"}


def report(record: Row) -> str:
    """The record in Markdown."""

    def line(name: str, row: Row) -> list[str]:
        numbers = []
        for kind in ("forward", "gradient"):
            h200, before, v5e = (row.get(key, {}).get(kind) for key in ("h200", "before", "v5e"))
            for unit, form in (("launches", ",d"), ("MiB", ".0f")):
                numbers += [format(part[unit], form) if part else "" for part in (h200, before)]
            numbers.append(f"{v5e['MiB']:.0f}" if v5e else "")
        return [name, row["method"], str(row["time"]), str(row["size"]), *numbers]

    part = "launches|before|MiB|before|v5e MiB"
    head = f"cell|method|T|size|forward {part}|gradient {part}".split("|")
    before = record.get("before")
    failures = [
        f"{name}, {column}: {row[column]['failure']}"
        for name, row in record["rows"].items()
        for column in ("h200", "v5e", "before")
        if "failure" in row.get(column, {})
    ]
    return "\n\n".join(
        [
            f"`{record['command']}`",
            "Compiled for an NVIDIA H200 and for one chip of a TPU v5e, on a CPU: no accelerator "
            f"ran. {record['date']}, batch {BATCH}, float32. MiB are temporaries."
            + (f" Before: commit {before}, by `--before {before}`." if before else ""),
            versions_text(record),
            markdown_table(head, [line(*item) for item in record["rows"].items()], 2),
            *failures,
        ]
    )


def main() -> None:
    options = parse_options()
    jax.config.update("jax_platforms", "cpu")
    path = pathlib.Path(options.out) / "launches_h200.json"
    record = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    columns = ["before"] if options.before else options.targets
    for name, column in itertools.product(options.only, columns):
        target = "h200" if column == "before" else column
        if reason := missing_compiler(target):
            raise SystemExit(f"No program can be compiled for {target}: {reason}.")
        counts = measure_apart(name, target, options.before)
        if options.before:
            record["before"] = options.before
        print(json.dumps({"cell": name, "column": column, "counts": counts}), flush=True)
        row = record["rows"].setdefault(name, {})
        row |= CASES[name].labels() | {column: counts}
        record["rows"] = {name: record["rows"][name] for name in CASES if name in record["rows"]}
        record |= provenance(MODULE, PACKAGES)
        record |= {"platform": "h200", "command": f"python -m {MODULE}"}  # of all rows
        paths = write_record(options.out, "launches", record, report(record))
    print(report(record))
    print("wrote", *paths)


if __name__ == "__main__":
    main()
