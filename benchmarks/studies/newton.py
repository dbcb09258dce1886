"""Iterations of Newton's method against the largest Lyapunov exponent.

    python -m benchmarks.studies.newton [--hidden 32] [--time 256] [--gains 0.5 1 2] [--seeds 3]

Newton's method finds all states of a sequence at once, in few iterations where the network forgets
its state (a negative largest exponent) and in as many as there are steps where it is chaotic: it is
parallelisable if it is predictable (Gonzalez et al. 2025, arXiv:2508.16817). The recurrent weights
of every cell are multiplied by a gain; an RNN's are N(0, gain²/hidden), the others start as their
class says. Inputs are standard normal. Exponents are those along the driven trajectory. ParaGRU and
ParaLSTM declare the structure of their Jacobians, so their iterations cost as much as
`QuasiNewton`'s, which takes the diagonal of the others' Jacobians.

Times are of one forward pass on the machine that is named. On a CPU `Scan` is the fastest; the
iterations are what carries over to other machines.
"""

import argparse
import functools
import pathlib
import statistics
import sys
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import seqmem
from seqmem import dynamics

from ..common.curves import group_rows
from ..common.options import positive_float, positive_int
from ..common.plots import COLOURS, HEIGHT, STYLE, WIDTH
from ..common.records import (
    Row,
    markdown_table,
    provenance,
    versions_text,
    write_csv,
    write_record,
)
from ..common.timing import time_interleaved

INPUT = 3
CELLS = {
    "RNN": seqmem.RNN,
    "LSTM": seqmem.LSTM,
    "GRU": seqmem.GRU,
    "ParaGRU": seqmem.ParaGRU,
    "ParaLSTM": seqmem.ParaLSTM,
}
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "numpy")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    gains = [0.5, 0.75, 1.0, 1.25, 1.5, 2.0]
    add("--cells", nargs="+", default=list(CELLS), choices=list(CELLS), help="cells")
    add("--hidden", type=positive_int, default=32, help="units")
    add("--time", type=positive_int, default=256, help="steps, all at once")
    add("--gains", type=positive_float, nargs="+", default=gains, metavar="g")
    add("--seeds", type=positive_int, default=3, help="networks of each gain")
    add("--rounds", type=positive_int, default=3, help="how often each program is timed")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def make_cell(name: str, gain: float, hidden: int, seed: int) -> seqmem.AbstractCell:
    keys = jax.random.split(jax.random.key(seed))
    cell = CELLS[name](INPUT, hidden, key=keys[0])
    if name == "RNN":
        U = gain * jax.random.normal(keys[1], (hidden, hidden)) / hidden**0.5
        return eqx.tree_at(lambda cell: cell.U, cell, U)
    (weights,) = cell.recurrent_weights
    return eqx.tree_at(lambda cell: getattr(cell, weights), cell, gain * getattr(cell, weights))


def methods_for(time: int) -> dict[str, seqmem.AbstractMethod]:
    """As many iterations as there are steps find all states, unless they overflow."""
    limits = {"chunk_size": None, "max_iters": time, "fallback": None}
    return {
        "Scan": seqmem.Scan(),
        "Newton": seqmem.Newton(**limits),
        "QuasiNewton": seqmem.QuasiNewton(**limits),
    }


@jax.jit
def exponent(cell: seqmem.AbstractCell, xs: jax.Array, key: jax.Array) -> jax.Array:
    """The largest exponent in the second half of the inputs."""
    half = len(xs) // 2
    state, _ = seqmem.unroll(cell, None, xs[:half])
    return dynamics.lyapunov_exponents(cell, state, xs[half:], k=1, key=key).exponents[0]


@functools.partial(jax.jit, static_argnums=0)
def solve(
    method: seqmem.AbstractMethod, cell: seqmem.AbstractCell, xs: jax.Array
) -> seqmem.Solution:
    return seqmem.solve(cell, None, xs, method=method)


def measure_network(name: str, gain: float, seed: int, options: argparse.Namespace) -> Row:
    """The exponent, the iterations and the times of one network."""
    cell = make_cell(name, gain, options.hidden, seed)
    keys = jax.random.split(jax.random.key(100 + seed), 3)
    xs = jax.random.normal(keys[0], (options.time, INPUT))
    long = jax.random.normal(keys[1], (8 * options.time, INPUT))
    network: Row = {"exponent": float(exponent(cell, long, keys[2]))}
    methods = methods_for(options.time)
    expected = solve(methods["Scan"], cell, xs).outputs
    for method in ("Newton", "QuasiNewton"):
        solution = solve(methods[method], cell, xs)
        network[method] = int(solution.stats.iterations)
        network[f"{method} converged"] = bool(solution.stats.converged)
        network[f"{method} error"] = float(jnp.max(jnp.abs(solution.outputs - expected)))

    def call(method: str) -> None:
        jax.block_until_ready(solve(methods[method], cell, xs).outputs)

    calls = {method: functools.partial(call, method) for method in methods}
    seconds = time_interleaved(calls, options.rounds)
    return network | {f"{key} ms": 1e3 * statistics.median(times) for key, times in seconds.items()}


def measure(name: str, gain: float, options: argparse.Namespace) -> Row:
    """The medians over the networks of one cell and gain."""
    networks = [measure_network(name, gain, seed, options) for seed in range(options.seeds)]
    row: Row = {"cell": name, "gain": gain}
    for key in networks[0]:
        values = [network[key] for network in networks]
        middle = float(np.quantile(values, 0.5, method="inverted_cdf"))
        row[key] = sum(values) if key.endswith("converged") else middle
    return row


def report(rows: Sequence[Row], seeds: int) -> str:
    head = ["cell", "gain", "exponent", "Newton", "QuasiNewton", "not found"]
    head += ["ms: Scan", "Newton", "QuasiNewton"]
    lines = []
    for row in rows:
        missing = [
            f"{seeds - row[f'{method} converged']} {method}"
            for method in ("Newton", "QuasiNewton")
            if row[f"{method} converged"] < seeds
        ]
        counts = [f"{row[method]:.0f}" for method in ("Newton", "QuasiNewton")]
        times = [f"{row[f'{key} ms']:.1f}" for key in ("Scan", "Newton", "QuasiNewton")]
        place = [row["cell"], f"{row['gain']:g}", f"{row['exponent']:+.3f}"]
        lines.append([*place, *counts, ", ".join(missing), *times])
    return markdown_table(head, lines)


def draw(path: pathlib.Path, rows: Sequence[Row]) -> None:
    """Draw the iterations of `Newton` against the exponent, a colour for each cell."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=300, layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color="0.6", lw=0.6)
        groups = group_rows(rows, "cell").items()
        for ((name,), points), colour in zip(groups, COLOURS, strict=False):
            exponents = [row["exponent"] for row in points]
            axes.plot(exponents, [row["Newton"] for row in points], ".", color=colour, label=name)
        axes.set(xlabel=r"exponent $\lambda_1$ (nats per step)", ylabel="iterations", yscale="log")
        axes.legend(frameon=False)
        figure.savefig(path)


def main() -> None:
    options = parse_options()
    gains = sorted(set(options.gains))
    rows: list[Row] = []
    with tqdm(total=len(options.cells) * len(gains), unit="gain") as bar:
        for name in options.cells:
            for gain in gains:
                bar.set_description(f"{name}, g = {gain:g}")
                rows.append(measure(name, gain, options))
                bar.update()

    record = provenance("benchmarks.studies.newton", PACKAGES)
    record |= {"hidden": options.hidden, "time": options.time, "seeds": options.seeds}
    record |= {"input": INPUT, "rows": rows}
    lines = [
        f"# Iterations of Newton's method against the largest Lyapunov exponent\n\n"
        f"{record['machine']}, {record['date']}: `{record['command']}`. {versions_text(record)}\n\n"
        f"{options.time} steps at once, {options.hidden} units, float32, batch 1; medians of "
        f"{options.seeds} networks. Iterations until the states are exact to rounding, at most one "
        "for each step; ms of one forward pass on this machine.\n",
        report(rows, options.seeds),
    ]
    markdown = "\n".join(lines)
    print(markdown)
    paths = write_record(options.out, "newton", record, markdown)
    stem = paths[0].with_suffix("")
    write_csv(stem.with_suffix(".csv"), rows)
    draw(stem.with_suffix(".png"), rows)
    for path in (*paths, stem.with_suffix(".csv"), stem.with_suffix(".png")):
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
