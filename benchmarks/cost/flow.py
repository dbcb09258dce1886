"""The cost of the norms of all states' gradients, compared with a plain gradient.

    python -m benchmarks.cost.flow [--cells LSTM GRU] [--shapes wide 64,8,16,32] [--rounds 15]

`gradients.value_grad_and_flow` with `flow.norm()`, in one jitted function, against
`jax.value_and_grad` of the same loss. Both run in one process, once per round, in an order drawn
for each round. A ratio is the median over the rounds; at 1.10 the norms add a tenth. The shapes are
those of benchmarks.cost.speed. The machine should be idle; the report says whether it was.
"""

import argparse
import functools
import statistics
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from tqdm import tqdm

import seqmem
from seqmem import gradients

from ..common.machine import load_note, track_other_load
from ..common.options import positive_int
from ..common.records import Row, markdown_table, provenance, versions_text, write_record
from ..common.timing import geometric_mean, median_ratio, time_interleaved
from .peers import Sizes
from .speed import SHAPES, parse_sizes

CELLS = {"LSTM": seqmem.LSTM, "GRU": seqmem.GRU}
PACKAGES = ("seqmem", "jax", "jaxlib")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--shapes", nargs="+", type=parse_sizes, default=list(SHAPES.values()))
    add("--rounds", type=positive_int, default=15)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def loss(cell: seqmem.AbstractCell, xs: Array, perturbations: Any = None) -> Array:
    _, ys = seqmem.unroll(cell, None, xs, perturbations=perturbations)
    return jnp.mean(ys**2)


plain_gradient = jax.jit(jax.value_and_grad(loss))


@jax.jit
def gradient_with_norms(cell: seqmem.AbstractCell, xs: Array) -> Any:
    value, grads, flow = gradients.value_grad_and_flow(loss)(cell, xs)
    return value, grads, flow.norm()


def measure(name: str, sizes: Sizes, rounds: int) -> Row:
    other_cores = track_other_load()
    cell = CELLS[name](sizes.input, sizes.hidden, key=jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), sizes[:3])

    def call(function):
        return jax.block_until_ready(function(cell, xs))

    programs = {"plain": plain_gradient, "with norms": gradient_with_norms}
    calls = {kind: functools.partial(call, function) for kind, function in programs.items()}
    seconds = time_interleaved(calls, rounds)
    return {
        "cell": name,
        "sizes": list(sizes),
        "ms": {kind: 1e3 * statistics.median(times) for kind, times in seconds.items()},
        "ratio": median_ratio(seconds["with norms"], seconds["plain"]),
        "cores_taken": other_cores(),
    }


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""
    rows = record["rows"]
    lines = [
        [row["cell"], str(Sizes(*row["sizes"]))]
        + [f"{row['ms'][kind]:.1f}" for kind in ("plain", "with norms")]
        + [f"{row['ratio']:.2f}"]
        for row in rows
    ]
    mean = geometric_mean(row["ratio"] for row in rows)
    note = load_note([row["cores_taken"] for row in rows])
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}, median of {record['rounds']} interleaved "
            f"rounds. {note}",
            versions_text(record),
            "A gradient, and one with the norms of all states' gradients:",
            markdown_table(["cell", "T, B, D, H", "plain ms", "with norms ms", "ratio"], lines, 2),
            f"Geometric mean of the ratios: {mean:.2f}.",
        ]
    )


def main() -> None:
    options = parse_options()
    cases = [(name, sizes) for name in options.cells for sizes in options.shapes]
    rows = [measure(*case, options.rounds) for case in tqdm(cases, unit="case")]
    record = provenance("benchmarks.cost.flow", PACKAGES) | {"rounds": options.rounds, "rows": rows}
    print(report(record))
    print("wrote", *write_record(options.out, "flow", record, report(record)))


if __name__ == "__main__":
    main()
