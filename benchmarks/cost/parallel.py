"""Memories that move linearly: a scan over time against an associative scan.

    python -m benchmarks.cost.parallel [--cells LRU MinGRU] [--lengths 256 4096 65536] [--rounds 15]

Each cell, with its projections and its readout, by `lax.scan` and by `lax.associative_scan` as one
writes them by hand (all coefficients a, b first, then the scan, then all outputs; the gradients are
JAX's own), by memax, and by seqmem: its default method, and `Parallel()`. Interleaved in one
process. Times are medians over the rounds, ratios are to seqmem's default method in the same round.
Temporaries are by XLA's own analysis. S5's scan is missing: that package does not import with
today's JAX.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from tqdm import tqdm

from ..common.machine import load_note, track_other_load
from ..common.options import positive_int
from ..common.records import (
    Row,
    markdown_table,
    provenance,
    versions_text,
    with_jax_version,
    write_record,
)
from ..common.timing import geometric_mean, time_forward_and_gradient
from .linear_recurrences import BY_HAND, CELLS, RUNS, WIDTH, memax_lru

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "memax")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--lengths", type=positive_int, nargs="+", default=[2**n for n in range(8, 18)])
    add("--batch", type=positive_int, default=1)
    add("--rounds", type=positive_int, default=15)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def measure(name: str, time: int, batch: int, rounds: int) -> list[Row]:
    """A row for each implementation of a cell, or for why it did not run."""
    other_cores = track_other_load()
    key = jax.random.key(0)
    cell = CELLS[name](WIDTH, WIDTH, key=key)
    xs = jax.random.normal(jax.random.key(1), (time, batch, WIDTH))
    programs: dict[str, Any] = {way: (run, (cell, xs)) for way, run in RUNS.items()}
    failures: dict[str, str] = {}
    if name == "LRU":
        try:
            layer, run = memax_lru(key)
            programs["memax"] = (run, (layer, xs))
        except ModuleNotFoundError:
            failures["memax"] = "missing: pip install memax"
    results = time_forward_and_gradient(programs, rounds)
    labels = {"cell": name, "time": time, "batch": batch, "width": WIDTH}
    labels["cores_taken"] = other_cores()
    rows = [labels | {"way": way} | numbers for way, numbers in results.items()]
    return rows + [labels | {"way": way, "failure": reason} for way, reason in failures.items()]


def compare_with_hand(rows: Sequence[Row]) -> dict[str, Any]:
    """seqmem's time over that of the faster scan by hand, and its temporaries over those of the
    associative scan.
    """
    cases: dict[Any, dict[str, Row]] = {}
    for row in rows:
        if "failure" not in row:
            cases.setdefault((row["cell"], row["time"]), {})[row["way"]] = row
    times = [
        1 / min(case[way][kind]["ratio"] for way in BY_HAND)
        for case in cases.values()
        for kind in ("forward", "gradient")
    ]
    temporaries = [
        case["seqmem"]["gradient"]["MiB"] / case["associative_scan"]["gradient"]["MiB"]
        for case in cases.values()
    ]
    return {
        "time, geometric mean": geometric_mean(times),
        "time, worst": max(times),
        "temporaries, worst": max(temporaries),
    }


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""
    head = "cell|T|way|forward ms|ratio|MiB|compile s|with backward ms|ratio|MiB|compile s"

    def line(row: Row) -> list[str]:
        labels = [row["cell"], str(row["time"]), row["way"]]
        if "failure" in row:
            return [*labels, row["failure"].partition(":")[0], *"-------"]
        return labels + [
            text
            for part in (row["forward"], row["gradient"])
            for text in (
                f"{part['ms']:.2f}",
                f"{part['ratio']:.2f}",
                f"{part['MiB']:.1f}",
                f"{part['compile_seconds']:.2f}",
            )
        ]

    rows = record["rows"]
    hand = ", ".join(f"{name} {value:.2f}" for name, value in record["against_hand"].items())
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}, median of {record['rounds']} interleaved "
            f"rounds. {load_note([row['cores_taken'] for row in rows])}",
            versions_text(record),
            f"seqmem against the faster scan by hand: {hand}.",
            markdown_table(head.split("|"), list(map(line, rows)), 3),
        ]
    )


def main() -> None:
    options = parse_options()
    cases = [(name, time) for name in options.cells for time in options.lengths]
    rows: list[Row] = []
    for name, time in tqdm(cases, unit="case"):
        rows += measure(name, time, options.batch, options.rounds)
    record = provenance("benchmarks.cost.parallel", PACKAGES)
    record |= {"rounds": options.rounds, "rows": rows, "against_hand": compare_with_hand(rows)}
    print(report(record))
    print("wrote", *write_record(options.out, with_jax_version("parallel"), record, report(record)))


if __name__ == "__main__":
    main()
