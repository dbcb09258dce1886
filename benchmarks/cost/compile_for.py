"""The kernels of `seqmem.Fused`, compiled for an NVIDIA H200 and a TPU v5e that are not there.

    pip install '.[aot]'
    python -m benchmarks.cost.compile_for [--cells LSTM GRU] [--targets h200 v5e]

For an H200: registers and spills of the forward and of the backward kernel, by ptxas, their shared
memory, and the launches of the forward pass and of the gradient of the sum of the outputs with
respect to the parameters, beside those of `seqmem.Scan`. For one chip of a TPU v5e, the tile that
the kernels hold and that its compiler takes. Where `Fused` or a compiler refuses, the reason.

Nothing runs on an accelerator, so there are no times. Columns marked "expected" are arithmetic:
what one step moves and multiplies, and how long that takes at the peak of the chip. They leave out
all that a step waits for: the barrier, the latency of memory and of the gates, which may be longer.

The row of a kernel is printed, and written to the results, as soon as it is known; other rows stay
as they are.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterable

import jax

from ..common.aot import missing_compiler
from ..common.records import (
    Row,
    as_json,
    markdown_table,
    provenance,
    versions_text,
    without_paths,
)
from .compile_cases import BATCH, CASES, INPUT, TIME, expected

MODULE = "benchmarks.cost.compile_for"
MEASURE = """
import json, sys
from benchmarks.cost.compile_cases import CASES, measure
print(json.dumps(measure(CASES[sys.argv[1]])))
"""
PACKAGES = ("seqmem", "jax", "jaxlib", "jax-cuda13-plugin", "nvidia-cuda-nvcc", "libtpu")
KERNELS = ("forward", "backward")
DEVICES = {"h200": "NVIDIA H200", "v5e": "TPU v5e, one chip"}
REGISTERS = re.compile(
    r"(\d+) bytes spill stores, (\d+) bytes spill loads\s+.*Used (\d+) registers"
)
SHARED_MEMORY = re.compile(r"Resources\(smem_scratch_bytes=(\d+)")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    cells = sorted({case.cell for case in CASES.values()})
    add("--cells", nargs="+", choices=cells, default=cells)
    add("--targets", nargs="+", choices=DEVICES, default=list(DEVICES))
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def measure_apart(name: str) -> Row:
    """`measure` in a process of its own, with what the compiler writes to its output."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}
    environment |= {"MOSAIC_GPU_DUMP_PTXAS": "1", "MOSAIC_GPU_DUMP_RESOURCES": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, name],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return {"failure": without_paths(done.stderr.splitlines()[-1])[:200]}
    kernels = kernels_of(done.stdout + done.stderr)
    row = json.loads(done.stdout.splitlines()[-1])
    return row | ({"kernels": kernels} if kernels else {})


def kernels_of(output: str) -> Row:
    """Registers, spilled bytes and bytes of shared memory of both kernels for a GPU.

    The first program that is compiled has the forward kernel, the second one both kernels, and
    ptxas is done with either of these first.
    """
    reports = [tuple(map(int, match)) for match in REGISTERS.findall(output)]
    shared = [int(match) for match in SHARED_MEMORY.findall(output)]
    if not reports:
        return {}
    forward, *others = reports
    if len(others) > 1:
        others.remove(forward)
    return {
        kind: {"registers": registers, "spilled": stores + loads, "shared memory": shared_memory}
        for kind, (stores, loads, registers), shared_memory in (
            ("forward", forward, shared[0]),
            ("backward", others[0], shared[-1]),
        )
    }


def report(record: Row) -> str:
    """The record in Markdown."""
    tables = []
    for target, device in DEVICES.items():
        rows = [row for row in record["rows"].values() if row["target"] == target]
        if rows:
            tables += [f"## {device}", kernels_table(rows), *refusals(rows), expected_table(rows)]
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"Compiled on a CPU: no accelerator ran, so there are no times. {record['date']}, "
            f"{TIME} steps, batch {BATCH}, {INPUT} input features, state and z in float32; forward "
            "pass / gradient of the sum of the outputs with respect to the parameters, or forward "
            "kernel / backward kernel. Spilled: bytes by both. MiB: temporaries of the gradient.",
            versions_text(record),
            *tables,
        ]
    )


def kernels_table(rows: list[Row]) -> str:
    """What the compiler makes of the kernels."""
    head = ["cell", "units", "factors", "tile"]
    is_gpu = rows[0]["target"] == "h200"
    head += ["registers", "spilled", "shared KiB", "launches", "by `Scan`"] if is_gpu else []
    head.append("MiB")

    def line(row: Row) -> list[str]:
        labels = [row["cell"], str(row["units"]), row["precision"]]
        programs, numbers = (row["forward"], row["gradient"]), []
        if is_gpu:
            kernels = [row["kernels"][kind] for kind in KERNELS]
            numbers = [
                pair(kernel["registers"] for kernel in kernels),
                str(sum(kernel["spilled"] for kernel in kernels)),
                pair(round(kernel["shared memory"] / 2**10) for kernel in kernels),
                pair(program["Fused"]["launches"] for program in programs),
                pair(program["Scan"]["launches"] for program in programs),
            ]
        steps, examples = row["tile"]
        mebibytes = f"{row['gradient']['Fused']['MiB']:.0f}"
        return [*labels, f"{steps} × {examples}", *numbers, mebibytes]

    return markdown_table(head, [line(row) for row in rows if "tile" in row], 3)


def refusals(rows: list[Row]) -> list[str]:
    """Why there is no kernel, one paragraph each."""
    return [
        f"{row['cell']}, {row['units']} units, {row['precision']}: {reason}."
        for row in rows
        if (reason := row.get("refusal", row.get("failure")))
    ]


def pair(numbers: Iterable[int]) -> str:
    return " / ".join(f"{number:,d}" for number in numbers)


def expected_table(rows: list[Row]) -> str:
    """Arithmetic of one step."""
    rows = [row for row in rows if "expected" in row]
    names = {"KiB": "main memory, KiB", "operations": "operations in products, M"}
    names |= {"memory µs": "at its peak, µs", "products µs": "at their peak, µs"}
    names["matrices µs"] = "matrices from shared memory, µs"
    columns = [column for column in names if column in rows[0]["expected"]["forward"]]
    head = ["cell", "units", "factors", *(f"expected {names[column]}" for column in columns)]

    def line(row: Row) -> list[str]:
        numbers = (
            " / ".join(f"{row['expected'][kind][column]:.3g}" for kind in KERNELS)
            for column in columns
        )
        return [row["cell"], str(row["units"]), row["precision"], *numbers]

    return markdown_table(head, [line(row) for row in rows], 3)


def main() -> None:
    options = parse_options()
    jax.config.update("jax_platforms", "cpu")
    path = pathlib.Path(options.out) / "compile_for.json"
    record = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    for target in options.targets:
        if reason := missing_compiler(target):
            raise SystemExit(f"No program can be compiled for {target}: {reason}.")
    for name, case in CASES.items():
        if case.target not in options.targets or case.cell not in options.cells:
            continue
        row = case._asdict() | measure_apart(name)
        if "tile" in row:
            row["expected"] = expected(case)
        print(json.dumps({"kernel": name} | row), flush=True)
        record["rows"][name] = row
        record["rows"] = {name: record["rows"][name] for name in CASES if name in record["rows"]}
        record |= provenance(MODULE, PACKAGES) | {"command": f"python -m {MODULE}"}  # of all rows
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_json(record))
        path.with_suffix(".md").write_text(report(record) + "\n")
    print(report(record))
    print("wrote", path, path.with_suffix(".md"))


if __name__ == "__main__":
    main()
