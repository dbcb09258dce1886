"""Which memory solves which task, on problems whose best scores are known.

    python -m benchmarks.studies.memory_tasks [--cells LRU "LSTM chrono"] [--tasks copy adding]
        [--seeds 3]

Each cell, with a linear readout, is trained on new examples of each task by Adam with a clipped
gradient (the long copy by RMSprop, without clipping), and tested on other examples; the test
examples of parity are longer than those of training. Scores are mean losses: nats per answer, or
the squared error of adding.
A seed has solved a task when its score is at most a tenth of the best score that is possible
without a memory. Accuracy is scaled: 0 is guessing, 1 is all right.

LSTM and GRU chrono start with gates open for the task's lag, and LRU's eigenvalues decay over it.
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

from ..common.curves import group_rows
from ..common.options import positive_float, positive_int
from ..common.records import Row, markdown_table, provenance, write_csv, write_record
from .memory_cells import CELLS, AnswerModel
from .memory_problems import PROBLEMS

STEPS_PER_TEST = 100
TEST_EXAMPLES = 256
SOLVED = 0.1  # of the score without a memory
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax")
SETTINGS = ("seeds", "iterations", "width", "batch", "learning_rate")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, help="by default those of each task")
    short = [name for name, problem in PROBLEMS.items() if not problem.is_long]
    add("--tasks", nargs="+", choices=PROBLEMS, default=short)
    add("--seeds", type=positive_int, default=3, help="models of each cell")
    iterations_help = f"a multiple of {STEPS_PER_TEST}; by default that of each task"
    add("--iterations", type=positive_int, help=iterations_help)
    add("--width", type=positive_int, help="entries of the state; by default that of each task")
    add("--batch", type=positive_int, default=32, help="sequences of one training step")
    add("--learning-rate", type=positive_float, help="by default that of each task")
    add("--out", default="benchmarks/results", help="folder for the results")
    options = parser.parse_args()
    if (options.iterations or 0) % STEPS_PER_TEST:
        parser.error(f"--iterations must be a multiple of {STEPS_PER_TEST}.")
    return options


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
    """The model after one training step for each key, and the mean loss of these steps.

    Not a `lax.scan`: in a loop, XLA:CPU computes a convolution's gradient several times slower
    (github.com/jax-ml/jax/issues/12868).
    """
    losses = []
    for key in keys:
        model, opt_state, loss = step(model, opt_state, key, **settings)
        losses.append(loss)
    return model, opt_state, statistics.fmean(map(float, losses))


@functools.partial(jax.jit, static_argnames="task")
def evaluate(model, key, *, task):
    """The score, and the scaled accuracy, which is None where answers are numbers."""
    examples = task.batch(key, TEST_EXAMPLES)
    outputs = model(task.vectors(examples.inputs))
    score = task.score(outputs, examples)
    if task.output_size == 1:
        return score, None
    correct = (outputs.argmax(-1) == examples.targets) * examples.weights
    chance = 1 / task.output_size
    return score, (correct.sum() / examples.weights.sum() - chance) / (1 - chance)


def measure(name: str, cell: str, options: argparse.Namespace, bar: tqdm) -> list[Row]:
    """A row for every test of every seed."""
    problem, rows = PROBLEMS[name], []
    width = options.width or problem.width
    learning_rate = options.learning_rate or problem.learning_rate
    tests = (options.iterations or problem.iterations) // STEPS_PER_TEST
    optimiser = problem.optimiser(learning_rate)
    for seed in range(options.seeds):
        bar.set_description(f"{name}, {cell}, seed {seed}")
        model_key, training_key, test_key = jax.random.split(jax.random.key(seed), 3)
        model = AnswerModel(cell, problem.train, width, model_key)
        opt_state, start = optimiser.init(model), time.perf_counter()  # pyright: ignore
        keys = jax.random.split(training_key, (tests, STEPS_PER_TEST))
        for count, step_keys in enumerate(keys, 1):
            model, opt_state, loss = train(
                model,
                opt_state,
                step_keys,
                task=problem.train,
                size=options.batch,
                optimiser=optimiser,
            )
            score, accuracy = evaluate(model, test_key, task=problem.test)
            rows.append(
                {
                    "task": name,
                    "cell": cell,
                    "seed": seed,
                    "iteration": count * STEPS_PER_TEST,
                    "training_loss": loss,
                    "score": float(score),
                    "accuracy": None if accuracy is None else float(accuracy),
                    "seconds": time.perf_counter() - start,
                }
            )
            bar.update()
    return rows


def summarise(rows: list[Row]) -> list[Row]:
    """A row for each task and cell: the last scores of the seeds, and the iteration at which each
    seed had solved the task, or None.
    """
    summary = []
    for (name, cell), cell_rows in group_rows(rows, "task", "cell").items():
        task, seeds = PROBLEMS[name].test, group_rows(cell_rows, "seed").values()
        last = [seed[-1] for seed in seeds]
        limit = SOLVED * task.input_only_score
        solved_at = [
            next((row["iteration"] for row in seed if row["score"] <= limit), None)
            for seed in seeds
        ]
        summary.append(
            {
                "task": name,
                "cell": cell,
                "memoryless": task.input_only_score,
                "blind": task.clock_only_score,
                "scores": [row["score"] for row in last],
                "accuracies": [row["accuracy"] for row in last],
                "solved_at": solved_at,
                "seconds": statistics.fmean(row["seconds"] for row in last),
            }
        )
    return summary


def summary_table(summary: list[Row]) -> str:
    """Medians and the worst over the seeds, as a Markdown table."""

    def line(row: Row) -> list[str]:
        scores, accuracies = row["scores"], row["accuracies"]
        solved_at = [iteration for iteration in row["solved_at"] if iteration is not None]
        cells = [row["task"], row["cell"], f"{row['memoryless']:.4g}", f"{row['blind']:.4g}"]
        cells += [f"{statistics.median(scores):.4f}", f"{max(scores):.4f}"]
        if None in accuracies:
            cells += ["", ""]
        else:
            cells += [f"{statistics.median(accuracies):.3f}", f"{min(accuracies):.3f}"]
        cells.append(f"{len(solved_at)} of {len(scores)}")
        cells.append(str(max(solved_at)) if solved_at else "")
        return [*cells, f"{row['seconds']:.0f}"]

    head = ["task", "cell", "no memory", "no input", "score", "worst", "accuracy", "worst"]
    head += ["solved", "within", "seconds"]
    return markdown_table(head, list(map(line, summary)), left=2)


def main() -> None:
    options = parse_options()
    rows: list[Row] = []
    with tqdm(unit=f"{STEPS_PER_TEST} iterations") as bar:
        for name in options.tasks:
            for cell in options.cells or PROBLEMS[name].cells:
                rows += measure(name, cell, options, bar)

    summary = summarise(rows)
    record = provenance("benchmarks.studies.memory_tasks", PACKAGES)
    for name in (*CELLS, *PROBLEMS):  # some names have a space
        record["command"] = record["command"].replace(f" {name}", f" {shlex.quote(name)}")
    record |= {
        "settings": {name: getattr(options, name) for name in SETTINGS},
        "tasks": {name: repr(PROBLEMS[name]) for name in options.tasks},
        "rows": summary,
    }
    title = f"{record['machine']}, {record['date']}: `{record['command']}`"
    report = f"{title}\n\n{summary_table(summary)}"
    print(report)
    paths = write_record(options.out, "memory_tasks", record, report)
    paths.append(paths[0].with_suffix(".csv"))
    write_csv(pathlib.Path(paths[-1]), rows)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
