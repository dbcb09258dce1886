"""Which matrix memory tracks the state of a group, far beyond the lengths it was trained on.

    python -m benchmarks.studies.state_tracking [--rules DeltaRule "DeltaProduct, 2 writes"]
        [--tasks parity S3 A5] [--beta-max 1 2] [--seeds 3] [--iterations 1000]

One layer: an embedding, a cell of four heads, a norm and a linear readout, trained by Adam, with a
learning rate that falls to 0 along a cosine, on words of 2 to 40 elements, and tested on words of
up to 256. Accuracy is scaled: 0 is guessing, 1 is all right.

What is known (Grazzi et al. 2024, arXiv:2411.12537; Siems et al. 2025, arXiv:2502.10297): with
β ≤ 1 all eigenvalues of a step's transition are in [0, 1], and not even parity is solved for all
lengths; with β ≤ 2 one write is a reflection, which is what parity needs; S3 and A5 are groups of
rotations of the plane and of space, each two reflections, so one layer needs two writes per step.
"""

import argparse
import functools
import math
import pathlib
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import optax
from jaxtyping import Array, Float, PRNGKeyArray
from tqdm import tqdm

import seqmem
from seqmem import tasks
from seqmem.layers import RMSNorm, Stack

from ..common.curves import group_rows
from ..common.options import positive_int
from ..common.records import Row, markdown_table, provenance, write_csv, write_record
from .memory_networks import Linear, method_of
from .memory_problems import clipped_adam

TRAINING_LENGTH, TEST_LENGTH = 40, 256
TEST_EXAMPLES = 128
WIDTH, NUM_HEADS = 32, 4
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax")
SETTINGS = ("seeds", "iterations", "batch", "learning_rate")


class Problem(NamedTuple):
    """Words of some elements of a group; None is all of them."""

    group: tasks.Group
    generators: tuple[int, ...] | None = None

    def of_length(self, length: int) -> tasks.WordProblem:
        return tasks.WordProblem(self.group, length, generators=self.generators)


PROBLEMS = {
    "parity": Problem(tasks.cyclic(2)),
    "S3": Problem(tasks.symmetric(3)),
    # (0 1)(2 3) and (0 2 4), which generate A5: of all 60 elements a pair is seen too seldom
    "A5": Problem(tasks.alternating(5), (13, 29)),
}

MakeCell = Callable[..., seqmem.AbstractCell]
RULES: dict[str, MakeCell] = {
    "DeltaRule": seqmem.DeltaRule,
    "GatedDeltaRule": seqmem.GatedDeltaRule,
    "KDA": seqmem.KDA,
    "DeltaProduct, 2 writes": functools.partial(seqmem.DeltaProduct, num_writes=2),
}
WITHOUT_BETA: dict[str, MakeCell] = {"GLA": seqmem.GLA, "Mamba3": seqmem.Mamba3}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    names = [*RULES, *WITHOUT_BETA]
    add("--rules", nargs="+", choices=names, default=names)
    add("--tasks", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    add("--beta-max", type=float, nargs="+", default=[1.0, 2.0], help="of the rules with a β")
    add("--seeds", type=positive_int, default=3, help="models of each rule")
    add("--iterations", type=positive_int, default=1000)
    add("--batch", type=positive_int, default=64, help="words of one training step")
    add("--learning-rate", type=float, default=5e-3)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


class Tracker(eqx.Module):
    """One layer, and answers that are linear in its outputs."""

    net: Stack
    V: Float[Array, "answers width"]

    def __init__(self, rule: str, beta_max: float | None, elements: int, key: PRNGKeyArray):
        keys = jax.random.split(key, 3)
        options: dict[str, Any] = {} if beta_max is None else {"beta_max": beta_max}
        make = (RULES | WITHOUT_BETA)[rule]
        cell = make(WIDTH, WIDTH, num_heads=NUM_HEADS, key=keys[1], **options)
        embedding = Linear(elements, WIDTH, 1.0, key=keys[0])
        self.net = Stack([embedding, cell, RMSNorm(WIDTH)])
        self.V = jax.random.normal(keys[2], (elements, WIDTH)) / math.sqrt(WIDTH)

    def __call__(self, xs: Float[Array, "time batch input"]) -> Float[Array, "time batch answers"]:
        return seqmem.unroll(self.net, None, xs, method=method_of(self.net))[1] @ self.V.T


@functools.partial(jax.jit, static_argnames=("task", "size", "optimiser"))
def train(model, opt_state, keys, *, task, size, optimiser):
    """The model after one training step for each key, and the mean loss of the last 50 steps."""

    def step(carry, key):
        model, opt_state = carry
        examples = task.batch(key, size)

        def loss(model):
            return task.score(model(task.vectors(examples.inputs)), examples)

        value, gradient = jax.value_and_grad(loss)(model)
        updates, opt_state = optimiser.update(gradient, opt_state, model)
        return (eqx.apply_updates(model, updates), opt_state), value

    (model, opt_state), losses = jax.lax.scan(step, (model, opt_state), keys)
    return model, losses[-50:].mean()


@functools.partial(jax.jit, static_argnames="task")
def accuracies(model, key, *, task) -> Float[Array, " time"]:
    """The scaled accuracy at every step."""
    examples = task.batch(key, TEST_EXAMPLES)
    outputs = model(task.vectors(examples.inputs))
    chance = 1 / task.output_size
    return ((outputs.argmax(-1) == examples.targets).mean(1) - chance) / (1 - chance)


def measure(rule: str, beta_max: float | None, name: str, options: argparse.Namespace) -> list[Row]:
    """A row for every seed."""
    problem, rows = PROBLEMS[name], []
    schedule = optax.cosine_decay_schedule(options.learning_rate, options.iterations)
    optimiser = clipped_adam(schedule)
    task = problem.of_length(TRAINING_LENGTH)
    for seed in range(options.seeds):
        model_key, training_key, test_key = jax.random.split(jax.random.key(seed), 3)
        model = Tracker(rule, beta_max, problem.group.order, model_key)
        opt_state, start = optimiser.init(model), time.perf_counter()  # pyright: ignore
        keys = jax.random.split(training_key, options.iterations)
        model, loss = train(
            model, opt_state, keys, task=task, size=options.batch, optimiser=optimiser
        )
        at = accuracies(model, test_key, task=problem.of_length(TEST_LENGTH))
        rows.append(
            {
                "task": name,
                "rule": rule,
                "beta_max": beta_max,
                "seed": seed,
                "training_loss": float(loss),
                "trained_lengths": float(at[1:TRAINING_LENGTH].mean()),
                "longer": float(at[TRAINING_LENGTH:].mean()),
                "at_256": float(at[-1]),
                "seconds": time.perf_counter() - start,
            }
        )
    return rows


def summary_table(rows: list[Row]) -> str:
    """Medians over the seeds, and in how many of them accuracy is 0.95 on all longer words."""

    def line(key: tuple[str, ...], seeds: list[Row]) -> list[str]:
        name, rule, beta_max = key
        medians = (
            statistics.median(row[column] for row in seeds)
            for column in ("training_loss", "trained_lengths", "longer", "at_256")
        )
        solved = sum(row["longer"] >= 0.95 for row in seeds)
        numbers = [f"{median:.3f}" for median in medians]
        most = "" if beta_max is None else f"{float(beta_max):g}"
        return [name, rule, most, *numbers, f"{solved} of {len(seeds)}"]

    head = ["task", "rule", "β ≤", "loss", f"2–{TRAINING_LENGTH}"]
    head += [f"{TRAINING_LENGTH + 1}–{TEST_LENGTH}", f"at {TEST_LENGTH}", "solved"]
    groups = group_rows(rows, "task", "rule", "beta_max")
    return markdown_table(head, [line(*group) for group in groups.items()], left=2)


def main() -> None:
    options = parse_options()
    rows: list[Row] = []
    cases = [
        (rule, beta_max, name)
        for name in options.tasks
        for rule in options.rules
        for beta_max in ([None] if rule in WITHOUT_BETA else options.beta_max)
    ]
    with tqdm(cases, unit="case") as bar:
        for rule, beta_max, name in bar:
            bar.set_description(f"{name}, {rule}, β ≤ {beta_max}")
            rows += measure(rule, beta_max, name, options)
            row = rows[-1]
            bar.write(
                f"{name}, {rule}, {beta_max}: {row['trained_lengths']:.3f} {row['longer']:.3f}"
            )

    record = provenance("benchmarks.studies.state_tracking", PACKAGES)
    for name in (*RULES, *WITHOUT_BETA):  # some names have a space
        record["command"] = record["command"].replace(f" {name}", f" {shlex.quote(name)}")
    record |= {
        "settings": {name: getattr(options, name) for name in SETTINGS},
        "tasks": {name: repr(PROBLEMS[name]) for name in options.tasks},
        "rows": rows,
    }
    title = f"{record['machine']}, {record['date']}: `{record['command']}`"
    report = f"{title}\n\n{summary_table(rows)}"
    print(report)
    of_tasks = "" if len(options.tasks) == len(PROBLEMS) else "_" + "_".join(options.tasks)
    paths = write_record(options.out, f"state_tracking{of_tasks}", record, report)
    paths.append(paths[0].with_suffix(".csv"))
    write_csv(pathlib.Path(paths[-1]), rows)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
