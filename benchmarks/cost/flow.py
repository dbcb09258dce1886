"""What the norms of all states' gradients cost beside a plain gradient.

    python -m benchmarks.cost.flow [--cells LSTM GRU] [--shapes wide 64,8,16,32] [--rounds 15]

`gradients.value_grad_and_flow` with `flow.norm()`, in one jitted function, against `jax.value_and_grad`
of the same loss: in one process, one call each per round, in a new order each round. A ratio is the
median over the rounds; 1.10 says that the norms add a tenth. The shapes are those of
benchmarks.cost.speed, and like it this wants an idle machine; what others took is reported.
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

from ..common.measure import (
    geometric_mean,
    interleaved,
    markdown_table,
    others,
    provenance,
    ratio,
    write,
)
from .peers import Sizes
from .speed import IDLE, SHAPES, Row, parse_rounds, parse_sizes

CELLS = {"LSTM": seqmem.LSTM, "GRU": seqmem.GRU}
PACKAGES = ("seqmem", "jax", "jaxlib")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--shapes", nargs="+", type=parse_sizes, default=list(SHAPES.values()))
    add("--rounds", type=parse_rounds, default=15)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def loss(cell: seqmem.AbstractCell, xs: Array, perturbations: Any = None) -> Array:
    _, ys = seqmem.unroll(cell, cell.init_state(), xs, perturbations=perturbations)
    return jnp.mean(ys**2)


plain = jax.jit(jax.value_and_grad(loss))


@jax.jit
def with_norms(cell: seqmem.AbstractCell, xs: Array) -> Any:
    value, grads, flow = gradients.value_grad_and_flow(loss)(cell, xs)
    return value, grads, flow.norm()


def measure(name: str, sizes: Sizes, rounds: int) -> Row:
    taken = others()
    cell = CELLS[name](sizes.input, sizes.hidden, key=jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), sizes[:3])

    def call(function):
        return jax.block_until_ready(function(cell, xs))

    programs = {"plain": plain, "with norms": with_norms}
    calls = {kind: functools.partial(call, function) for kind, function in programs.items()}
    seconds = interleaved(calls, rounds)
    return {
        "cell": name,
        "sizes": list(sizes),
        "ms": {kind: 1e3 * statistics.median(times) for kind, times in seconds.items()},
        "ratio": ratio(seconds["with norms"], seconds["plain"]),
        "cores_taken": taken(),
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
    busy = [row["cores_taken"] for row in rows]
    known = "Whether the machine was idle is unknown."
    if None not in busy:
        often = sum(taken >= IDLE for taken in busy)
        known = "The machine was idle."
        if often:
            known = f"NOT AN IDLE MACHINE: others took up to {max(busy):.1f} cores, at {often} of "
            known += f"{len(rows)} shapes; repeat this."
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}, median of {record['rounds']} interleaved "
            f"rounds. {known}",
            f"Versions: {versions}.",
            "A gradient, and one with the norms of all states' gradients:",
            markdown_table(["cell", "T, B, D, H", "plain ms", "with norms ms", "ratio"], lines, 2),
            f"Geometric mean of the ratios: {mean:.2f}.",
        ]
    )


def main() -> None:
    chosen = options()
    cases = [(name, sizes) for name in chosen.cells for sizes in chosen.shapes]
    rows = [measure(*case, chosen.rounds) for case in tqdm(cases, unit="case")]
    record = provenance("benchmarks.cost.flow", PACKAGES) | {"rounds": chosen.rounds, "rows": rows}
    print(report(record))
    print("wrote", *write(chosen.out, "flow", record, report(record)))


if __name__ == "__main__":
    main()
