"""A character model of a text, trained in three minutes.

    python -m benchmarks.jobs.character_model [--cell GRU] [--hidden 256] [--devices 2]
        [--minutes 2.5 | --steps 2000]
    python -m benchmarks.jobs.character_model --compare-dtypes [--hidden 128] [--steps 600]

tinyshakespeare, from SEQMEM_DATA or downloaded, or else CPython's language reference: the first
nine tenths for training, the last for the test. A cell is trained by truncated backpropagation
through windows of 64 characters with a carried state, by Adam with a learning rate that rises and
falls. The streams are spread over all devices: the cores of a CPU. With --minutes, a few steps are
timed to choose the number of steps; the time of the tests is not part of the minutes.

With --compare-dtypes, computation in bfloat16 with float32 weights and states is compared with
float32, at the same steps and the same three seeds. XLA may leave out a rounding to bfloat16 that
is undone at once, and on a CPU it often does; XLA_FLAGS=--xla_allow_excess_precision=false forbids
it.
"""

import argparse
import csv
import functools
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from seqmem import experiment, models

from ..common.devices import devices_for, on_first_device
from ..common.options import positive_float, positive_int, training_parser
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
    Job,
    Settings,
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
    parser = training_parser(__doc__)
    add = parser.add_argument
    add("--cell", choices=CELLS, default="GRU")
    add("--hidden", type=positive_int, default=256, help="entries of the state")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--minutes", type=positive_float, default=2.5, help="of training")
    limit.add_argument("--steps", type=positive_int, help="of training")
    add("--seed", type=int, default=0)
    add("--dtype", choices=DTYPES, default="float32", help="of the computation")
    add("--compare-dtypes", action="store_true", help="both dtypes, three seeds each")
    return parser.parse_args()


class Run(NamedTuple):
    """A trained model, the test losses during its training, the seconds, tests included, and the
    characters that it was trained on per second, without tests: the median over the steps.
    """

    model: models.LanguageModel
    rows: list[Row]
    seconds: float
    characters_per_second: float


def train(job: Job, settings: Settings, tokens: int = WINDOW * BATCH) -> Run:
    steps = settings.steps
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        state, _ = experiment.train(
            job.step,
            job.begin(),
            job.batches,
            key=jax.random.key(settings.seed),
            steps=steps,
            folder=folder,
            validation=experiment.Validation(job.validate, every=max(1, steps // TESTS)),
            tokens=tokens,
        )
        table, training_table = (
            list(csv.DictReader(pathlib.Path(folder, f"{name}.csv").read_text().splitlines()))
            for name in ("validation", "training")
        )
    seconds = time.perf_counter() - start
    speeds = [float(row["tokens_per_second"]) for row in training_table]
    rows: list[Row] = [
        {
            "dtype": settings.dtype,
            "seed": settings.seed,
            "step": int(row["position"]),
            "test_loss": float(row["loss"]),
        }
        for row in table
    ]
    return Run(on_first_device(state.model), rows, seconds, float(np.median(speeds)))


def steps_within(minutes: float, make: Callable[[Settings], Job], settings: Settings) -> int:
    """How many steps fit into some minutes, the timing of a few steps included."""
    start = time.perf_counter()
    seconds = seconds_per_step(make(settings))
    remaining = 60 * minutes - (time.perf_counter() - start)
    return max(TESTS, int(remaining / seconds) // TESTS * TESTS)


def report(record: Row) -> str:
    """The record in Markdown."""
    runs = [
        [
            run["dtype"],
            str(run["seed"]),
            f"{run['test_loss']:.4f}",
            f"{run['seconds']:.0f}",
            f"{run['characters_per_second']:,.0f}",
        ]
        for run in record["runs"]
    ]
    parts = [
        f"`{record['command']}`",
        f"{record['machine']}, {record['date']}. {versions_text(record)}",
        f"{record['cell']} of {record['hidden']} on {record['text']}, {record['steps']} steps of "
        f"{BATCH} streams of {WINDOW} characters on {record['devices']} device"
        f"{'s' * (record['devices'] > 1)}; loss on the last tenth, nats per character:",
        markdown_table(["dtype", "seed", "test loss", "seconds", "characters/s"], runs),
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
    devices = devices_for(BATCH, options.devices)
    text = load_text()
    dtypes = DTYPES if options.compare_dtypes else (options.dtype,)
    seeds = range(COMPARED_SEEDS) if options.compare_dtypes else (options.seed,)
    settings = Settings(options.cell, options.hidden, 1000, options.seed, options.dtype)
    make: Callable[[Settings], Job] = functools.partial(make_job, text=text, devices=devices)
    steps = options.steps or steps_within(options.minutes, make, settings)
    summaries, rows, losses = [], [], {}
    for seed in seeds:
        for dtype in dtypes:
            settings = settings._replace(steps=steps, seed=seed, dtype=dtype)
            run = train(make(settings), settings)
            last = run.rows[-1]["test_loss"]
            summaries.append(
                {
                    "dtype": dtype,
                    "seed": seed,
                    "test_loss": last,
                    "seconds": run.seconds,
                    "characters_per_second": run.characters_per_second,
                }
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
        "devices": devices.num_devices,
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
