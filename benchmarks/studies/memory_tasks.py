"""Which memory solves which task, on problems whose best scores are known.

    python -m benchmarks.studies.memory_tasks [--cells LRU "LSTM chrono"] [--tasks copy adding]
        [--seeds 3]

Each cell, with a linear readout, is trained on new examples of each task by Adam with a clipped
gradient (the long copy by RMSprop, without clipping), and tested on other examples; the test
examples of parity are longer than those of training. Scores are mean losses: nats per answer, or
the squared error of adding.
A seed has solved a task when its score is at most a tenth of the best score that is possible
without a memory. Accuracy is scaled: 0 is guessing, 1 is all right.

The long tasks run where an option names them, each cell by a command of its own that adds its row
to a table:

    python -m benchmarks.studies.memory_tasks --tasks 'adding 2000' --cells LEM --seeds 1
        --minutes 12 --table long

Long tasks are 'adding 1000', 'adding 2000', 'long copy' (1000 steps), 'digits' (scikit-learn's, of
8×8 pixels, one by one) and 'sequential MNIST' (28×28, where `seqmem.data.mnist` finds it); what was
published stands beside, with the settings of those authors and not with ours.

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

from ..common.options import positive_float, positive_int
from ..common.records import Row, provenance, write_csv, write_record
from .memory_cells import CELLS, AnswerModel
from .memory_problems import PROBLEMS
from .memory_report import command_lines, earlier_rows, summarise, summary_table

STEPS_PER_TEST = 100
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "scikit-learn")
SETTINGS = ("seeds", "iterations", "minutes", "width", "batch", "learning_rate")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, help="by default those of each task")
    short = [name for name, problem in PROBLEMS.items() if not problem.is_long]
    add("--tasks", nargs="+", choices=PROBLEMS, default=short)
    add("--seeds", type=positive_int, default=3, help="models of each cell")
    iterations_help = f"a multiple of {STEPS_PER_TEST}; by default that of each task"
    add("--iterations", type=positive_int, help=iterations_help)
    add("--minutes", type=positive_float, help="each model stops at its first test after these")
    add("--width", type=positive_int, help="entries of the state; by default that of each task")
    add("--batch", type=positive_int, default=32, help="sequences of one training step")
    add("--learning-rate", type=positive_float, help="by default that of each task")
    add("--table", help="adds the rows to the results of this name")
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


@functools.partial(jax.jit, static_argnames=("task", "size"))
def evaluate(model, key, *, task, size):
    """The score, and the scaled accuracy, which is None where answers are numbers."""
    examples = task.batch(key, size)
    outputs = model(task.vectors(examples.inputs))
    score = task.score(outputs, examples)
    if task.output_size == 1:
        return score, None
    correct = (outputs.argmax(-1) == examples.targets) * examples.weights
    chance = 1 / task.output_size
    return score, (correct.sum() / examples.weights.sum() - chance) / (1 - chance)


def measure(name: str, cell: str, options: argparse.Namespace, bar: tqdm) -> list[Row]:
    """A row for every test of every seed."""
    problem, rows = PROBLEMS[name].for_cell(cell), []
    width = options.width or problem.width
    learning_rate = options.learning_rate or problem.learning_rate
    tests = (options.iterations or problem.iterations) // STEPS_PER_TEST
    optimiser = problem.optimiser(learning_rate)
    for seed in range(options.seeds):
        bar.set_description(f"{name}, {cell}, seed {seed}")
        model_key, training_key, test_key = jax.random.split(jax.random.key(seed), 3)
        model = AnswerModel(cell, problem.train, width, model_key, **problem.cell_options)
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
            score, accuracy = evaluate(
                model, test_key, task=problem.test, size=problem.test_examples
            )
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
            if options.minutes is not None and rows[-1]["seconds"] > 60 * options.minutes:
                break
    return rows


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
    report = f"{record['machine']}, {record['date']}: `{record['command']}`"
    stem = "memory_tasks"
    if options.table:
        stem += f"_{options.table}"
        written_by = {key: record[key] for key in ("machine", "date", "command")}
        json_path = pathlib.Path(options.out) / f"{stem}_{record['platform']}.json"
        old_summary, old_rows = earlier_rows(json_path, rows)
        summary = old_summary + [row | written_by for row in summary]
        rows = old_rows + rows
        report = command_lines(summary)
    record |= {
        "settings": {name: getattr(options, name) for name in SETTINGS},
        "tasks": {name: repr(PROBLEMS[name]) for name in options.tasks},
        "rows": summary,
    }
    report += f"\n\n{summary_table(summary)}"
    print(report)
    paths = write_record(options.out, stem, record, report)
    paths.append(paths[0].with_suffix(".csv"))
    write_csv(pathlib.Path(paths[-1]), rows)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
