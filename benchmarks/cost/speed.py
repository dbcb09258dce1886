"""How fast and how lean is seqmem against its peers, on the same LSTM and GRU?

    python -m benchmarks.cost.speed [--cells LSTM GRU] [--shapes wide 64,8,16,32] [--peers equinox torch]

Forward, and forward with backward (the gradient of the sum of squared outputs with respect to the
parameters), in float32 at each library's default precision. All libraries run in one process, one
call each per round, in a new order each round. A ratio is the median over the rounds of a library's
time over seqmem's: above 1, seqmem is faster. Temporaries and compile seconds are XLA's, of the
program with backward.

The machine must be idle, or the figures are wrong, and not for all alike: PyTorch's OpenMP threads
spin at barriers, and a busy machine makes them tens of times slower. What others took is reported.
"""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..common.measure import geometric_mean, interleaved, markdown_table, others, provenance, ratio, write
from .peers import OURS, PEERS, Peer, Program, Sizes

CELLS = ("LSTM", "GRU")
SHAPES = {
    "wide": Sizes(256, 32, 128, 256),
    "middle": Sizes(128, 32, 64, 128),
    "long": Sizes(1024, 8, 32, 128),
    "narrow": Sizes(1024, 64, 32, 32),
    "single": Sizes(1000, 1, 16, 64),
}
IDLE = 0.1  # cores that others may take
Row = dict[str, Any]
PACKAGES = ("seqmem", "jax", "jaxlib", *(peer.package for peer in PEERS.values()))


def parse_sizes(text: str) -> Sizes:
    if text in SHAPES:
        return SHAPES[text]
    try:
        sizes = Sizes(*map(int, text.split(",")))
    except (TypeError, ValueError):
        sizes = None
    if sizes is None or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither of {', '.join(SHAPES)} nor T,B,D,H.")
    return sizes


def parse_rounds(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rounds, at least 1.")
    return int(text)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--shapes", nargs="+", type=parse_sizes, default=list(SHAPES.values()))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=parse_rounds, default=15)
    parser.add_argument("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def build(peer: Peer, cell: str, sizes: Sizes, xs: np.ndarray) -> Program | str:
    """The program, run once and looked at, or the reason why there is none."""
    try:
        program = peer.build(cell, sizes, xs)
        ys = program.forward()
        loss, gradients = program.gradient()
        if tuple(ys.shape) != (sizes.time, sizes.batch, sizes.hidden):
            return f"error: outputs of shape {tuple(ys.shape)}"
        leaves = jax.tree.leaves((ys, loss, gradients))
        if not all(np.isfinite(np.asarray(_on_host(leaf))).all() for leaf in leaves):
            return "error: outputs or gradients are not finite"
    except ModuleNotFoundError as error:
        if peer.package == "seqmem":
            raise
        return f"missing: pip install {peer.package} (no module named {error.name!r})"
    except Exception as error:
        first = re.sub(r"/\S+/", "", (str(error).splitlines() or [""])[0])  # no private paths
        return f"error: {type(error).__name__}: {first[:100]}"
    return program


def _on_host(leaf: Any) -> Any:
    return leaf.cpu() if hasattr(leaf, "cpu") else leaf


def measure(cell: str, sizes: Sizes, peers: Mapping[str, Peer], rounds: int) -> list[Row]:
    """One row per library."""
    taken = others()
    xs = np.random.default_rng(0).standard_normal(sizes[:3], np.float32)
    built = {name: build(peer, cell, sizes, xs) for name, peer in peers.items()}
    programs = {name: made for name, made in built.items() if isinstance(made, Program)}
    if "seqmem" not in programs:
        raise RuntimeError(f"seqmem itself did not run: {built['seqmem']}")

    def timed(call: Callable[[Program], Any]) -> dict[str, dict[str, float]]:
        seconds = interleaved({name: call(made) for name, made in programs.items()}, rounds)
        return {
            name: {
                "ms": 1e3 * statistics.median(times),
                "best_ms": 1e3 * min(times),
                "ratio": ratio(times, seconds["seqmem"]),
            }
            for name, times in seconds.items()
        }

    forward = timed(lambda program: program.forward)
    gradient = timed(lambda program: program.gradient)

    cores_taken = taken()

    def row(name: str, made: Program | str) -> dict[str, Any]:
        where = {"cell": cell, "sizes": list(sizes), "library": name, "cores_taken": cores_taken}
        if isinstance(made, str):
            return where | {"failure": made}
        return where | {
            "forward": forward[name],
            "gradient": gradient[name],
            "temp_bytes": made.temp_bytes,
            "compile_seconds": made.compile_seconds,
            "parameters": made.parameters,
        }

    return [row(name, made) for name, made in built.items()]


def means(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Geometric means over the shapes, with backward: of each shape's best JAX peer, of PyTorch."""

    def mean(group: Sequence[Row], choose: Callable[[str], bool]) -> dict[str, Any]:
        best: dict[Any, float] = {}
        for row in group:
            if choose(row["library"]) and "gradient" in row:
                place = (row["cell"], *row["sizes"])
                best[place] = min(row["gradient"]["ratio"], best.get(place, float("inf")))
        value = geometric_mean(best.values()) if best else None
        return {"ratio": value, "shapes": len(best)}

    cells = list(dict.fromkeys(row["cell"] for row in rows))
    groups = {cell: [row for row in rows if row["cell"] == cell] for cell in cells}
    if len(groups) > 1:
        groups["both"] = list(rows)
    return {
        name: {
            "best JAX peer": mean(
                group, lambda library: library in PEERS and PEERS[library].in_jax
            ),
            "torch": mean(group, lambda library: library == "torch"),
        }
        for name, group in groups.items()
    }


def summary(rows: Sequence[Row]) -> str:
    """Milliseconds with backward (ratio to seqmem's): a line per shape, a column per library."""
    libraries = list(dict.fromkeys(row["library"] for row in rows))
    lines: dict[tuple, dict[str, str]] = {}
    for row in rows:
        text = row.get("failure", "").partition(":")[0]
        if "gradient" in row:
            text = "{ms:.1f} ({ratio:.2f})".format(**row["gradient"])
        lines.setdefault((row["cell"], str(Sizes(*row["sizes"]))), {})[row["library"]] = text
    head = ["cell", "T, B, D, H", *libraries]
    return markdown_table(
        head, [[*place, *(cells[name] for name in libraries)] for place, cells in lines.items()], 2
    )


def details(rows: Sequence[Row]) -> str:
    head = (
        "cell|T, B, D, H|library|forward ms|ratio|with backward ms|ratio|temporaries MiB|compile s"
    )

    def line(row: Row) -> list[str]:
        where = [row["cell"], str(Sizes(*row["sizes"])), row["library"]]
        if "failure" in row:
            return [*where, row["failure"].partition(":")[0], *"-----"]
        times = [row["forward"]["ms"], row["forward"]["ratio"]]
        times += [row["gradient"]["ms"], row["gradient"]["ratio"]]
        by_xla = ["-", "-"]
        if row["temp_bytes"] is not None:
            by_xla = [f"{row['temp_bytes'] / 2**20:.1f}", f"{row['compile_seconds']:.2f}"]
        return [*where, *map("{:.2f}".format, times), *by_xla]

    return markdown_table(head.split("|"), list(map(line, rows)), 3)


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""

    def mean(cell: str, name: str) -> str:
        found = record["means"][cell][name]
        if found["ratio"] is None:
            return "-"
        count = sum(
            row["library"] == "seqmem" and cell in (row["cell"], "both") for row in record["rows"]
        )
        partial = "" if found["shapes"] == count else f" ({found['shapes']} of {count} shapes)"
        return f"{found['ratio']:.2f}{partial}"

    names = ["best JAX peer", "torch"]
    means_table = markdown_table(
        ["with backward, geometric mean", *(f"{name} / seqmem" for name in names)],
        [[cell, *(mean(cell, name) for name in names)] for cell in record["means"]],
    )
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    libraries = {row["library"] for row in record["rows"]}
    notes = [
        f"* {k}: {v.differs}." for k, v in (OURS | PEERS).items() if k in libraries and v.differs
    ]
    notes += dict.fromkeys(
        f"* {row['library']}: {row['failure']}." for row in record["rows"] if "failure" in row
    )
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}, median of {record['rounds']} interleaved "
            f"rounds. {_busy(record['rows'])}",
            f"Versions: {versions}.",
            "Forward with backward, ms (ratio to seqmem):",
            summary(record["rows"]),
            means_table,
            details(record["rows"]),
            "\n".join(notes),
        ]
    )


def _busy(rows: Sequence[Row]) -> str:
    taken = {(row["cell"], *row["sizes"]): row["cores_taken"] for row in rows}
    if None in taken.values():
        return "Whether the machine was idle is unknown."
    busy = [value for value in taken.values() if value >= IDLE]
    if not busy:
        return "The machine was idle."
    return (
        f"NOT AN IDLE MACHINE: others took up to {max(busy):.1f} cores, at {len(busy)} of "
        f"{len(taken)} shapes; repeat this."
    )


def main() -> None:
    chosen = options()
    peers = OURS | {name: PEERS[name] for name in chosen.peers}
    record = provenance("benchmarks.cost.speed", PACKAGES) | {"rounds": chosen.rounds}
    rows: list[Row] = []
    for cell in chosen.cells:
        for sizes in chosen.shapes:
            start = time.perf_counter()
            rows += measure(cell, sizes, peers, chosen.rounds)
            record |= {"means": means(rows), "rows": rows}
            paths = write(chosen.out, "speed", record, report(record))  # kept if the next is not
            seconds = time.perf_counter() - start
            print(f"{cell} {sizes}: {seconds:.0f} s", file=sys.stderr, flush=True)
    print(report(record))
    print("wrote", *paths, file=sys.stderr)


if __name__ == "__main__":
    main()
