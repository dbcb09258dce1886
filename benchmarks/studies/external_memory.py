"""Memories outside of the network on the first tasks of the neural Turing machine.

    python -m benchmarks.studies.external_memory [--cells NTM DNC LSTM] [--tasks copy recall]
        [--seeds 1] [--iterations 10000]

A cell, with a linear readout, is trained on new sequences of each task by Adam with a clipped
gradient, and tested on other sequences of the training's lengths and on longer ones. Scores are
bits per sequence, as in Graves et al. 2014, arXiv:1410.5401, whose tasks these are: copies of 1 to
20 vectors of 8 bits, and recall among 2 to 6 items of 18 bits. A seed has solved a task when it
costs at most a hundredth of what guessing does, on the lengths of the training.

The memory has 32 slots of 16 features, and the controller is an LSTM of 64 units; the paper has
128 × 20 and 100. The LSTM without a memory has 256 units. "short-copy" and "short-recall" are small
versions: 1 to 5 vectors, and 2 or 3 items of one vector.
"""

import argparse
import functools
import math
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from tqdm import tqdm

import seqmem
from seqmem import tasks

from ..common.curves import group_rows
from ..common.options import positive_float, positive_int
from ..common.records import Row, markdown_table, provenance, write_csv, write_record
from .memory_problems import clipped_adam
from .memory_tasks import STEPS_PER_TEST, train

TEST_EXAMPLES = 128
SOLVED = 0.01  # of the cost of guessing
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax")
SETTINGS = ("seeds", "iterations", "batch", "learning_rate")

MakeCell = Callable[..., seqmem.AbstractCell]  # (input_size, *, key) -> cell
MEMORY = {"hidden_size": 64, "num_slots": 32, "slot_size": 16}
CELLS: dict[str, MakeCell] = {
    "NTM": functools.partial(seqmem.NTM, **MEMORY),
    "DNC": functools.partial(seqmem.DNC, **MEMORY),
    "LSTM": functools.partial(seqmem.LSTM, hidden_size=256),
}


class Problem(NamedTuple):
    """A task for training and one with longer sequences."""

    train: tasks.AbstractBitTask
    longer: tasks.AbstractBitTask


PROBLEMS = {
    "copy": Problem(tasks.BitCopy(20), tasks.BitCopy(30, min_length=30)),
    "recall": Problem(tasks.ItemRecall(6), tasks.ItemRecall(10, min_items=10)),
    "short-copy": Problem(tasks.BitCopy(5), tasks.BitCopy(8, min_length=8)),
    "short-recall": Problem(tasks.ItemRecall(3, 6, 1), tasks.ItemRecall(5, 6, 1, 5)),
}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--tasks", nargs="+", choices=PROBLEMS, default=["copy", "recall"])
    add("--seeds", type=positive_int, default=1, help="models of each cell")
    add("--iterations", type=positive_int, default=10_000, help=f"a multiple of {STEPS_PER_TEST}")
    add("--batch", type=positive_int, default=16, help="sequences of one training step")
    add("--learning-rate", type=positive_float, default=1e-3)
    add("--out", default="benchmarks/results", help="folder for the results")
    options = parser.parse_args()
    if options.iterations % STEPS_PER_TEST:
        parser.error(f"--iterations must be a multiple of {STEPS_PER_TEST}.")
    return options


class BitModel(eqx.Module):
    """A cell, and logits that are linear in its outputs."""

    cell: seqmem.AbstractCell
    V: Float[Array, "bits output"]
    b: Float[Array, " bits"]

    def __init__(self, name: str, task: tasks.AbstractBitTask, key: PRNGKeyArray):
        keys = jax.random.split(key)
        self.cell = CELLS[name](task.input_size, key=keys[0])
        (size,) = self.cell.output_shape
        self.V = jax.random.normal(keys[1], (task.output_size, size)) / math.sqrt(size)
        self.b = jnp.zeros(task.output_size)

    def __call__(self, xs: Float[Array, "time batch input"]) -> Float[Array, "time batch bits"]:
        return seqmem.unroll(self.cell, None, xs)[1] @ self.V.T + self.b


@functools.partial(jax.jit, static_argnames="task")
def evaluate(model, key, *, task):
    """The cost in bits per sequence, that of guessing, and the share of bits that are wrong."""
    examples = task.batch(key, TEST_EXAMPLES)
    outputs = model(task.vectors(examples.inputs))
    answers = examples.weights.sum() / TEST_EXAMPLES
    is_wrong = ((outputs > 0) != (examples.targets > 0)) * examples.weights[..., None]
    errors = is_wrong.sum() / (examples.weights.sum() * task.output_size)
    cost = task.score(outputs, examples) * answers / math.log(2)
    return cost, answers * task.output_size, errors


def measure(name: str, cell: str, options: argparse.Namespace, bar: tqdm) -> list[Row]:
    """A row for every test of every seed."""
    problem, rows = PROBLEMS[name], []
    tests = options.iterations // STEPS_PER_TEST
    optimiser = clipped_adam(options.learning_rate)
    for seed in range(options.seeds):
        bar.set_description(f"{name}, {cell}, seed {seed}")
        model_key, training_key, test_key = jax.random.split(jax.random.key(seed), 3)
        model = BitModel(cell, problem.train, model_key)
        opt_state, start = optimiser.init(model), time.perf_counter()  # pyright: ignore
        settings = {"task": problem.train, "size": options.batch, "optimiser": optimiser}
        for count, keys in enumerate(jax.random.split(training_key, (tests, STEPS_PER_TEST)), 1):
            model, opt_state, loss = train(model, opt_state, keys, **settings)
            row = {"task": name, "cell": cell, "seed": seed, "iteration": count * STEPS_PER_TEST}
            row["training_loss"] = loss
            for place, task in problem._asdict().items():
                cost, guessing, errors = map(float, evaluate(model, test_key, task=task))
                row |= {f"{place}_bits": cost, f"{place}_guessing": guessing}
                row[f"{place}_errors"] = errors
            rows.append(row | {"seconds": time.perf_counter() - start})
            bar.update()
            bar.set_postfix(bits=f"{row['train_bits']:.2f}")
    return rows


def summarise(rows: list[Row]) -> list[Row]:
    """A row for each task and cell: medians of the last test, and when each seed had solved it."""
    summary = []
    for (name, cell), cell_rows in group_rows(rows, "task", "cell").items():
        seeds = list(group_rows(cell_rows, "seed").values())
        solved_at = [
            next(
                (row["iteration"] for row in seed if row["train_bits"] <= limit_of(row)),
                None,
            )
            for seed in seeds
        ]
        columns = [key for key in seeds[0][-1] if key.startswith(("train_", "longer_"))]
        medians = {key: statistics.median(seed[-1][key] for seed in seeds) for key in columns}
        seconds = statistics.fmean(seed[-1]["seconds"] for seed in seeds)
        summary.append(
            {"task": name, "cell": cell, **medians, "solved_at": solved_at, "seconds": seconds}
        )
    return summary


def limit_of(row: Row) -> float:
    """The cost at which a task is solved."""
    return SOLVED * row["train_guessing"]


def summary_table(summary: list[Row]) -> str:
    def line(row: Row) -> list[str]:
        solved_at = [iteration for iteration in row["solved_at"] if iteration is not None]
        numbers = [row[f"{place}_bits"] for place in ("train", "longer")]
        guessing = [row[f"{place}_guessing"] for place in ("train", "longer")]
        errors = [row[f"{place}_errors"] for place in ("train", "longer")]
        cells = [row["task"], row["cell"]]
        for cost, most, share in zip(numbers, guessing, errors, strict=True):
            cells += [f"{cost:.3g}", f"{most:.0f}", f"{share:.2%}"]
        cells += [f"{len(solved_at)} of {len(row['solved_at'])}"]
        return [*cells, str(max(solved_at)) if solved_at else "", f"{row['seconds']:.0f}"]

    head = ["task", "cell", "bits", "guessing", "wrong", "longer", "guessing", "wrong"]
    head += ["solved", "within", "seconds"]
    return markdown_table(head, list(map(line, summary)), left=2)


def main() -> None:
    options = parse_options()
    rows: list[Row] = []
    total = len(options.tasks) * len(options.cells) * options.seeds
    total *= options.iterations // STEPS_PER_TEST
    with tqdm(total=total, unit=f"{STEPS_PER_TEST} iterations") as bar:
        for name in options.tasks:
            for cell in options.cells:
                rows += measure(name, cell, options, bar)

    summary = summarise(rows)
    record = provenance("benchmarks.studies.external_memory", PACKAGES)
    record |= {
        "settings": {name: getattr(options, name) for name in SETTINGS},
        "tasks": {name: repr(PROBLEMS[name]) for name in options.tasks},
        "rows": summary,
    }
    title = f"{record['machine']}, {record['date']}: `{record['command']}`"
    report = f"{title}\n\n{summary_table(summary)}"
    print(report)
    paths = write_record(options.out, "external_memory", record, report)
    paths.append(paths[0].with_suffix(".csv"))
    write_csv(pathlib.Path(paths[-1]), rows)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
