"""Which memory solves which task? Training on problems whose best scores are known.

    python -m benchmarks.studies.memory_tasks [--cells LRU "LSTM chrono"] [--tasks copy adding] [--seeds 3]

Each cell, with a linear readout on top, is trained on fresh examples of each task by Adam with a
clipped gradient (the long copy by RMSprop, without), and tested on examples that it has not seen;
those of parity are longer than the ones it is trained on. Scores are mean losses: nats of each
answer, or the squared error of adding.
A seed has solved a task once its score is at most a tenth of the best that is possible without a
memory. Accuracy is scaled: 0 is guessing, 1 is right.

LSTM and GRU chrono begin with gates open for the task's lag, and LRU's eigenvalues fade over it.
"Gates [-1, 1]" and "gates [0, 1]" are one linear memory with two ranges of its eigenvalues.
"""

import argparse
import functools
import pathlib
import shlex
import statistics
import sys
import time

import equinox as eqx
import jax
from tqdm import tqdm

from ..common.curves import Row, grouped, write_csv
from ..common.measure import markdown_table, provenance
from .memory_models import CELLS, TASKS, Answering
from .gradient_norms import as_json, number, positive

PER_TEST = 100  # training steps
TESTED = 256  # examples
SOLVED = 0.1  # of the memoryless score
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax")
SETTINGS = ("seeds", "iterations", "width", "batch", "learning_rate")


@functools.partial(
    jax.jit, static_argnames=("task", "size", "optimiser"), donate_argnames=("model", "opt_state")
)
def step(model, opt_state, key, *, task, size, optimiser):
    """The model after one training step, and the loss before it."""
    examples = task.batch(key, size)

    def loss(model):
        return task.score(model(task.vectors(examples.inputs)), examples)

    value, gradient = jax.value_and_grad(loss)(model)
    updates, opt_state = optimiser.update(gradient, opt_state, model)
    return eqx.apply_updates(model, updates), opt_state, value


def train(model, opt_state, keys, **settings):
    """The model after one training step for each key, and the mean loss on the way.

    Not a `lax.scan`: in a loop, XLA:CPU computes a convolution's gradient several times slower
    (github.com/jax-ml/jax/issues/12868).
    """
    losses = []
    for key in keys:
        model, opt_state, loss = step(model, opt_state, key, **settings)
        losses.append(loss)
    return model, opt_state, statistics.fmean(map(float, losses))


@functools.partial(jax.jit, static_argnames="task")
def test(model, key, *, task):
    """The score, and how many of the answers are right, for what guessing gets right as 0."""
    examples = task.batch(key, TESTED)
    outputs = model(task.vectors(examples.inputs))
    score = task.score(outputs, examples)
    if task.answers == 1:
        return score, None
    right = (outputs.argmax(-1) == examples.targets) * examples.weights
    guessed = 1 / task.answers
    return score, (right.sum() / examples.weights.sum() - guessed) / (1 - guessed)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Which memory solves which task?")
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, help="else the task's own")
    short = [name for name, problem in TASKS.items() if not problem.long]
    add("--tasks", nargs="+", choices=TASKS, default=short)
    add("--seeds", type=number, default=3, help="how many models of each cell")
    add("--iterations", type=number, help=f"a multiple of {PER_TEST}; else the task's own")
    add("--width", type=number, help="entries of the state; else the task's own")
    add("--batch", type=number, default=32, help="sequences of one training step")
    add("--learning-rate", type=positive, help="of Adam; else the task's own")
    add("--out", default="benchmarks/results", help="folder for the results")
    chosen = parser.parse_args()
    if (chosen.iterations or 0) % PER_TEST:
        parser.error(f"--iterations is a multiple of {PER_TEST}.")
    return chosen


def measure(name: str, cell: str, chosen: argparse.Namespace, bar: tqdm) -> list[Row]:
    """A row for every test of every seed."""
    problem, rows = TASKS[name], []
    width = chosen.width or problem.width
    rate = chosen.learning_rate or problem.learning_rate
    rounds = (chosen.iterations or problem.iterations) // PER_TEST
    optimiser = problem.optimiser(rate)
    for seed in range(chosen.seeds):
        bar.set_description(f"{name}, {cell}, seed {seed}")
        own, training, tested = jax.random.split(jax.random.key(seed), 3)
        model = Answering(cell, problem.train, width, own)
        opt_state, start = optimiser.init(model), time.perf_counter()  # pyright: ignore
        keys = jax.random.split(training, (rounds, PER_TEST))
        for past, some in enumerate(keys, 1):
            model, opt_state, loss = train(
                model, opt_state, some, task=problem.train, size=chosen.batch, optimiser=optimiser
            )
            score, accuracy = test(model, tested, task=problem.test)
            rows.append(
                {
                    "task": name,
                    "cell": cell,
                    "seed": seed,
                    "iteration": past * PER_TEST,
                    "training_loss": loss,
                    "score": float(score),
                    "accuracy": None if accuracy is None else float(accuracy),
                    "seconds": time.perf_counter() - start,
                }
            )
            bar.update()
    return rows


def summary(rows: list[Row]) -> list[Row]:
    """One row for each task and cell: the seeds' last scores, and when they had solved the task."""
    found = []
    for (name, cell), own in grouped(rows, "task", "cell").items():
        task, seeds = TASKS[name].test, grouped(own, "seed").values()
        last = [seed[-1] for seed in seeds]
        reached = [
            next(
                (row["iteration"] for row in seed if row["score"] <= SOLVED * task.memoryless), None
            )
            for seed in seeds
        ]
        found.append(
            {
                "task": name,
                "cell": cell,
                "memoryless": task.memoryless,
                "blind": task.blind,
                "scores": [row["score"] for row in last],
                "accuracies": [row["accuracy"] for row in last],
                "solved_at": reached,
                "seconds": statistics.fmean(row["seconds"] for row in last),
            }
        )
    return found


def table(found: list[Row]) -> str:
    """Medians and the worst over the seeds."""

    def line(row: Row) -> list[str]:
        scores, accuracies = row["scores"], row["accuracies"]
        solved = [step for step in row["solved_at"] if step is not None]
        words = [row["task"], row["cell"], f"{row['memoryless']:.4g}", f"{row['blind']:.4g}"]
        words += [f"{statistics.median(scores):.4f}", f"{max(scores):.4f}"]
        if None in accuracies:
            words += ["", ""]
        else:
            words += [f"{statistics.median(accuracies):.3f}", f"{min(accuracies):.3f}"]
        words.append(f"{len(solved)} of {len(scores)}")
        words.append(str(max(solved)) if solved else "")
        return [*words, f"{row['seconds']:.0f}"]

    head = ["task", "cell", "no memory", "no input", "score", "worst", "accuracy", "worst"]
    head += ["solved", "within", "seconds"]
    return markdown_table(head, list(map(line, found)), left=2)


def main() -> None:
    chosen = options()
    rows: list[Row] = []
    with tqdm(unit=f"{PER_TEST} iterations") as bar:
        for name in chosen.tasks:
            for cell in chosen.cells or TASKS[name].cells:
                rows += measure(name, cell, chosen, bar)

    found = summary(rows)
    record = provenance("benchmarks.studies.memory_tasks", PACKAGES)
    for name in (*CELLS, *TASKS):  # some have a space in them
        record["command"] = record["command"].replace(f" {name}", f" {shlex.quote(name)}")
    record |= {
        "settings": {name: getattr(chosen, name) for name in SETTINGS},
        "tasks": {name: repr(TASKS[name]) for name in chosen.tasks},
        "rows": found,
    }
    text = f"{record['machine']}, {record['date']}: `{record['command']}`\n\n{table(found)}\n"
    print(text)
    folder = pathlib.Path(chosen.out)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"memory_tasks_{record['platform']}"
    stem.with_suffix(".json").write_text(as_json(record))
    stem.with_suffix(".md").write_text(text)
    write_csv(stem.with_suffix(".csv"), rows)
    for kind in ("json", "md", "csv"):
        print(f"wrote {stem}.{kind}", file=sys.stderr)


if __name__ == "__main__":
    main()
