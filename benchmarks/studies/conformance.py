"""The laws of `seqmem.testing.check_op` on functions of other libraries, and on seqmem's own.

    pip install equinox flax dm-haiku memax
    JAX_PLATFORMS=cpu PYTHONPATH=src:. python -m benchmarks.studies.conformance \\
        --libraries equinox flax haiku memax seqmem
    python -m benchmarks.studies.conformance --table

Each library has a file of results of its own, to which each run adds its functions, so that
libraries that exclude each other are run each in an environment of its own; `--table` makes one
table of all files. A library that is not installed is named and left out. These need environments
of their own:

    jla            pip install jax==0.11.2 jax-linear-attention==0.1.0
    tokamax        pip install tokamax
    fla            pip install torch einops triton fla-core flash-linear-attention
    mlstm_torch    pip install torch einops mlstm_kernels
    mlstm_jax      the same, and jax-triton

A broken law comes with a line that repeats it. Its op is

    from benchmarks.studies.conformance import op_of
    op = op_of("equinox", "GRUCell")
"""

import argparse
import json
import pathlib
import shlex

import jax

import seqmem
from seqmem._testing.ops.op import AbstractOp
from seqmem.testing import Verdict, report_op

from ..common.options import positive_int
from ..common.records import Row, as_json, environment, failure_text, without_paths
from .conformance_adapters.entry import Entry, Library
from .conformance_adapters.libraries import LIBRARIES
from .conformance_report import judged, markdown, read_records, sentence

RESULTS = pathlib.Path(__file__).parent.parent / "results"
MODULE = "benchmarks.studies.conformance"
LONG_TIME = 256


def op_of(library: str, function: str) -> AbstractOp:
    """The op of a function, for `seqmem.testing.run_case(op, case)`.

    Raises:
        KeyError: for another name of a function.
        ImportError: where the library is not installed.
    """
    return {entry.name: entry.op for entry in LIBRARIES[library].build()}[function]


def check(entry: Entry, long_time: int) -> Row:
    """The verdict on each law."""
    report = report_op(entry.op, long_time=long_time)
    return {"function": entry.name, "laws": {v.law: _row(v) for v in report.verdicts}}


def _row(verdict: Verdict) -> Row:
    row: Row = {"outcome": verdict.outcome}
    if verdict.detail:
        row["detail"] = " ".join(without_paths(verdict.detail).split())[:300]
    if verdict.case is not None:
        row["case"] = repr(verdict.case)
    return row


def measure(name: str, options: argparse.Namespace, path: pathlib.Path) -> None:
    """Write the record of a library after each function. Other functions of an earlier run of the
    same versions stay in it.
    """
    library = LIBRARIES[name]
    try:
        entries = library.build()
    except ImportError as error:
        print(f"{name}: {failure_text(error)}")
        return
    record = record_of(name, library, options)
    for entry in entries:
        if options.functions is None or entry.name in options.functions:
            row = check(entry, options.long_time) | {"command": record["command"]}
            print(sentence(name, judged(row, library.unpromised)), flush=True)
            rows = earlier_rows(path, record) | {entry.name: row}
            ordered = [rows[entry.name] for entry in entries if entry.name in rows]
            path.write_text(as_json(record | {"rows": ordered}))


def record_of(name: str, library: Library, options: argparse.Namespace) -> Row:
    """The versions, the machine and the command of a run of a library."""
    packages = [package for package in library.packages if package != "seqmem"]
    record = environment([*packages, "jax", "numpy"])
    record["versions"] |= {"seqmem": seqmem.__version__}
    command = ["python", "-m", MODULE, "--libraries", name]
    if options.functions is not None:
        command += ["--functions", *options.functions]
    if options.long_time != LONG_TIME:
        command += ["--long-time", str(options.long_time)]
    record["command"] = shlex.join(command)
    return {"library": name, "promises": library.promises} | record


def earlier_rows(path: pathlib.Path, record: Row) -> dict[str, Row]:
    """The rows of a run of the same versions, by their functions."""
    if not path.exists():
        return {}
    earlier = json.loads(path.read_text())
    is_same = earlier["versions"] == record["versions"]
    return {row["function"]: row for row in earlier["rows"]} if is_same else {}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--functions", nargs="+", help="names of the table; all by default")
    parser.add_argument("--long-time", type=positive_int, default=LONG_TIME)
    parser.add_argument("--table", action="store_true", help="make the table of all results")
    parser.add_argument("--out", default=str(RESULTS))
    return parser.parse_args()


def main() -> None:
    options = parse()
    folder = pathlib.Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    platform = jax.devices()[0].platform
    for name in [] if options.table else options.libraries:
        measure(name, options, folder / f"conformance_{name}_{platform}.json")
    if options.table:
        text = markdown(read_records(folder, platform, LIBRARIES))
        (folder / f"conformance_{platform}.md").write_text(text + "\n")
        print(text)


if __name__ == "__main__":
    main()
