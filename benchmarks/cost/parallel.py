"""Memories that move linearly: one step after another, or all at once?

    python -m benchmarks.cost.parallel [--cells LRU MinGRU] [--lengths 256 4096 65536] [--rounds 15]

Each cell, with its projections and its readout, by `lax.scan` and by `lax.associative_scan` as one
writes them by hand (all maps a, b first, then the scan, then all outputs; gradients are JAX's own),
by memax, and by seqmem: the method it chooses, and `Parallel`. Interleaved in one process; times
are medians over the rounds and ratios to seqmem's own choice in the same round. Beside them the
temporaries by XLA's own analysis and the seconds that compiling took. S5's scan is missing: that
package does not import with today's JAX.
"""

import argparse
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array
from tqdm import tqdm

import seqmem
from seqmem._cells.diagonal.base import affine_map

from ..common.measure import (
    compile_for,
    geometric_mean,
    interleaved,
    markdown_table,
    others,
    provenance,
    ratio,
    write,
)
from ..studies.gradient_norms import number
from .speed import IDLE, Row, parse_rounds

WIDTH = 64
CELLS: dict[str, Callable[..., seqmem.AbstractDiagonalCell]] = {
    "LRU": seqmem.LRU,
    "MinGRU": seqmem.MinGRU,
}
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "memax")
BASE = "seqmem"
BY_HAND = ("lax.scan", "associative_scan")
Run = Callable[[Any, Array], Array]  # (model, xs [time, batch, input]) -> ys


def by_hand(solve: Callable[[Any, Any], Any]) -> Run:
    """All maps, then all states, then all outputs."""

    def run(cell: seqmem.AbstractDiagonalCell, xs: Array) -> Array:
        start = cell.init_state()

        def maps(x: Array) -> tuple[Any, Any]:
            return affine_map(cell, cell.project(x), start)

        def show(state: Any, x: Array) -> Array:
            return cell.readout(state, cell.project(x))

        states = solve(*jax.vmap(jax.vmap(maps))(xs))
        return jax.vmap(jax.vmap(show))(states, xs)

    return run


def scanned(a: Array, b: Array) -> Array:
    def step(state: Array, here: tuple[Array, Array]) -> tuple[Array, Array]:
        a, b = here
        state = a * state + b
        return state, state

    return jax.lax.scan(step, jnp.zeros_like(b[0]), (a, b))[1]


def associative(a: Array, b: Array) -> Array:
    def compose(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
        return then[0] * first[0], then[0] * first[1] + then[1]

    return jax.lax.associative_scan(compose, (a, b))[1]


def unrolled(method: seqmem.AbstractMethod | None) -> Run:
    def run(cell: seqmem.AbstractCell, xs: Array) -> Array:
        return seqmem.unroll(cell, cell.init_state(), xs, method=method)[1]

    return run


RUNS: dict[str, Run] = {
    BASE: unrolled(None),
    "seqmem Parallel": unrolled(seqmem.Parallel()),
    "lax.scan": by_hand(scanned),
    "associative_scan": by_hand(associative),
}


def memax_lru(key: Array) -> tuple[Any, Run]:
    """memax's LRU: its carry, a reset flag for every step, an output layer of its own."""
    from memax.equinox.semigroups.lru import LRU

    layer = LRU(WIDTH, WIDTH, key=key)

    def run(layer: Any, xs: Array) -> Array:
        starts = jnp.zeros(len(xs), bool)
        return jax.vmap(
            lambda xs: layer(layer.initialize_carry(), (xs, starts))[1], in_axes=1, out_axes=1
        )(xs)

    return layer, run


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--lengths", type=number, nargs="+", default=[2**n for n in range(8, 18)])
    add("--batch", type=number, default=1)
    add("--rounds", type=parse_rounds, default=15)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def measure(name: str, time: int, batch: int, rounds: int) -> list[Row]:
    """A row for each way to run the cell, or for why it did not run."""
    taken = others()
    key = jax.random.key(0)
    cell = CELLS[name](WIDTH, WIDTH, key=key)
    xs = jax.random.normal(jax.random.key(1), (time, batch, WIDTH))
    ways: dict[str, tuple[Any, Run]] = {way: (cell, run) for way, run in RUNS.items()}
    failures: dict[str, str] = {}
    if name == "LRU":
        try:
            ways["memax"] = memax_lru(key)
        except ModuleNotFoundError:
            failures["memax"] = "missing: pip install memax"

    found: dict[str, dict[str, Any]] = {way: {} for way in ways}
    for kind in ("forward", "gradient"):
        calls = {}
        for way, (model, run) in ways.items():
            moving, still = eqx.partition(model, eqx.is_inexact_array)
            program = _forward(run, still) if kind == "forward" else _gradient(run, still)
            built = compile_for(program, moving, xs)
            calls[way] = functools.partial(_finish, built.call, moving, xs)
            found[way][kind] = {"MiB": built.temp_bytes / 2**20, "compile_seconds": built.seconds}
        seconds = interleaved(calls, rounds)
        for way, times in seconds.items():
            found[way][kind]["ms"] = 1e3 * statistics.median(times)
            found[way][kind]["ratio"] = ratio(times, seconds[BASE])
    where = {"cell": name, "time": time, "batch": batch, "width": WIDTH, "cores_taken": taken()}
    rows = [where | {"way": way} | numbers for way, numbers in found.items()]
    return rows + [where | {"way": way, "failure": why} for way, why in failures.items()]


def _forward(run: Run, still: Any) -> Callable[..., Any]:
    return lambda moving, xs: run(eqx.combine(moving, still), xs)


def _gradient(run: Run, still: Any) -> Callable[..., Any]:
    def loss(moving: Any, xs: Array) -> Array:
        return jnp.mean(run(eqx.combine(moving, still), xs) ** 2)

    return jax.value_and_grad(loss, argnums=(0, 1))


def _finish(call: Callable[..., Any], *args: Any) -> Any:
    return jax.block_until_ready(call(*args))


def against_hand(rows: Sequence[Row]) -> dict[str, Any]:
    """seqmem's time over the better form by hand, and its temporaries over associative_scan's."""
    cases: dict[Any, dict[str, Row]] = {}
    for row in rows:
        if "failure" not in row:
            cases.setdefault((row["cell"], row["time"]), {})[row["way"]] = row
    kinds = ("forward", "gradient")
    speed = [
        1 / min(case[way][kind]["ratio"] for way in BY_HAND)
        for case in cases.values()
        for kind in kinds
    ]
    bytes_ = [
        case[BASE]["gradient"]["MiB"] / case["associative_scan"]["gradient"]["MiB"]
        for case in cases.values()
    ]
    return {
        "time, geometric mean": geometric_mean(speed),
        "time, worst": max(speed),
        "temporaries, worst": max(bytes_),
    }


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""
    head = "cell|T|way|forward ms|ratio|MiB|compile s|with backward ms|ratio|MiB|compile s"

    def line(row: Row) -> list[str]:
        where = [row["cell"], str(row["time"]), row["way"]]
        if "failure" in row:
            return [*where, row["failure"].partition(":")[0], *"-------"]
        parts = [row[kind] for kind in ("forward", "gradient")]
        return where + [
            text
            for part in parts
            for text in (
                f"{part['ms']:.2f}",
                f"{part['ratio']:.2f}",
                f"{part['MiB']:.1f}",
                f"{part['compile_seconds']:.2f}",
            )
        ]

    rows = record["rows"]
    busy = [row["cores_taken"] for row in rows]
    known = "Whether the machine was idle is unknown."
    if None not in busy:
        idle = max(busy) < IDLE
        known = "The machine was idle." if idle else f"NOT IDLE: others took {max(busy):.1f} cores."
    hand = ", ".join(f"{name} {value:.2f}" for name, value in record["against_hand"].items())
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}, median of {record['rounds']} interleaved "
            f"rounds. {known}",
            f"Versions: {versions}.",
            f"seqmem against the better form by hand: {hand}.",
            markdown_table(head.split("|"), list(map(line, rows)), 3),
        ]
    )


def main() -> None:
    chosen = options()
    cases = [(name, time) for name in chosen.cells for time in chosen.lengths]
    rows: list[Row] = []
    for name, time in tqdm(cases, unit="case"):
        rows += measure(name, time, chosen.batch, chosen.rounds)
    record = provenance("benchmarks.cost.parallel", PACKAGES)
    record |= {"rounds": chosen.rounds, "rows": rows, "against_hand": against_hand(rows)}
    print(report(record))
    print("wrote", *write(chosen.out, "parallel", record, report(record)))


if __name__ == "__main__":
    main()
