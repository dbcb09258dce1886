"""A character model of a text, trained in three minutes.

    python -m benchmarks.jobs.character_model [--cell GRU] [--hidden 256]
        [--minutes 2.5 | --steps 2000]
    python -m benchmarks.jobs.character_model --compare-dtypes [--hidden 128] [--steps 600]

tinyshakespeare, from SEQMEM_DATA or downloaded, or else CPython's language reference: the first
nine tenths for training, the last for the test. A cell is trained by truncated backpropagation
through windows of 64 characters with a carried state, by Adam with a learning rate that rises and
falls. With --minutes, a few steps are timed to choose the number of steps; the time of the tests is
not part of the minutes.

With --compare-dtypes, computation in bfloat16 with float32 weights and states is compared with
float32, at the same steps and the same three seeds. XLA may leave out a rounding to bfloat16 that
is undone at once, and on a CPU it often does; XLA_FLAGS=--xla_allow_excess_precision=false forbids
it.
"""

import argparse
import csv
import pathlib
import statistics
import sys
import tempfile
import time
from typing import NamedTuple

import jax

from seqmem import experiment, models

from ..common.options import positive_float, positive_int
from ..common.records import (
    Row,
    markdown_table,
    provenance,
    versions_text,
    write_csv,
    write_record,
)
from .character_training import (
    BATCH,
    CELLS,
    WINDOW,
    Text,
    load_text,
    make_job,
    sample_text,
    seconds_per_step,
)

TESTS = 5  # in a run
DTYPES = ("float32", "bfloat16")
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax")
PUBLISHED = (
    "Published for tinyshakespeare: 1.88 by nanoGPT's recipe for a CPU, a transformer of 4 layers "
    "of 128, 2,000 steps of 12 windows of 64, about 3 minutes (github.com/karpathy/nanoGPT)."
)
SAMPLE_LENGTH = 500
COMPARED_SEEDS = 3


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--cell", choices=CELLS, default="GRU")
    add("--hidden", type=positive_int, default=256, help="entries of the state")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--minutes", type=positive_float, default=2.5, help="of training")
    limit.add_argument("--steps", type=positive_int, help="of training")
    add("--seed", type=int, default=0)
    add("--dtype", choices=DTYPES, default="float32", help="of the computation")
    add("--compare-dtypes", action="store_true", help="both dtypes, three seeds each")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


class Run(NamedTuple):
    """A trained model, the test losses during its training, and the seconds, tests included."""

    model: models.CharacterModel
    rows: list[Row]
    seconds: float


def train(text: Text, options: argparse.Namespace, steps: int, seed: int, dtype: str) -> Run:
    job = make_job(
        options.cell, options.hidden, text, seed=seed, steps=steps, bfloat16=dtype == "bfloat16"
    )
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        state, _ = experiment.train(
            job.step,
            job.begin(),
            job.batches,
            key=jax.random.key(seed),
            steps=steps,
            folder=folder,
            validation=experiment.Validation(job.validate, every=max(1, steps // TESTS)),
            tokens=WINDOW * BATCH,
        )
        table = pathlib.Path(folder, "validation.csv").read_text().splitlines()
    seconds = time.perf_counter() - start
    rows: list[Row] = [
        {
            "dtype": dtype,
            "seed": seed,
            "step": int(row["position"]),
            "test_loss": float(row["loss"]),
        }
        for row in csv.DictReader(table)
    ]
    return Run(state.model, rows, seconds)


def steps_within(minutes: float, text: Text, options: argparse.Namespace) -> int:
    """How many steps fit into some minutes, the timing of a few steps included."""
    start = time.perf_counter()
    job = make_job(
        options.cell,
        options.hidden,
        text,
        seed=options.seed,
        steps=1000,
        bfloat16=options.dtype == "bfloat16",
    )
    seconds = seconds_per_step(job)
    remaining = 60 * minutes - (time.perf_counter() - start)
    return max(TESTS, int(remaining / seconds) // TESTS * TESTS)


def report(record: Row) -> str:
    """The record in Markdown."""
    runs = [
        [run["dtype"], str(run["seed"]), f"{run['test_loss']:.4f}", f"{run['seconds']:.0f}"]
        for run in record["runs"]
    ]
    parts = [
        f"`{record['command']}`",
        f"{record['machine']}, {record['date']}. {versions_text(record)}",
        f"{record['cell']} of {record['hidden']} on {record['text']}, {record['steps']} steps of "
        f"{BATCH} streams of {WINDOW} characters; loss on the last tenth, nats per character:",
        markdown_table(["dtype", "seed", "test loss", "seconds"], runs),
    ]
    if record["difference"] is not None:
        parts.append(
            f"bfloat16 minus float32, mean of {COMPARED_SEEDS} seeds: "
            f"{record['difference']:+.4f} nats."
        )
    else:
        parts += [PUBLISHED, "A sample:", "```\n" + record["sample"] + "\n```"]
    return "\n\n".join(parts)


def main() -> None:
    options = parse_options()
    text = load_text()
    dtypes = DTYPES if options.compare_dtypes else (options.dtype,)
    seeds = range(COMPARED_SEEDS) if options.compare_dtypes else (options.seed,)
    steps = options.steps or steps_within(options.minutes, text, options)
    summaries, rows, losses = [], [], {}
    for seed in seeds:
        for dtype in dtypes:
            run = train(text, options, steps, seed, dtype)
            last = run.rows[-1]["test_loss"]
            summaries.append(
                {"dtype": dtype, "seed": seed, "test_loss": last, "seconds": run.seconds}
            )
            rows += run.rows
            losses.setdefault(dtype, []).append(last)

    difference, sample = None, None
    if options.compare_dtypes:
        difference = statistics.fmean(losses["bfloat16"]) - statistics.fmean(losses["float32"])
    else:
        sample = sample_text(run.model, text, "\n", SAMPLE_LENGTH)
    record = provenance("benchmarks.jobs.character_model", PACKAGES) | {
        "cell": options.cell,
        "hidden": options.hidden,
        "text": text.source,
        "steps": steps,
        "runs": summaries,
        "difference": difference,
        "sample": sample,
    }
    print(report(record))
    name = f"character_model{'_dtypes' if options.compare_dtypes else ''}"
    paths = write_record(options.out, name, record, report(record))
    paths.append(paths[0].with_suffix(".csv"))
    write_csv(paths[-1], rows)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
