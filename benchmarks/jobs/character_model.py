"""A character model: what does a memory learn of a text in three minutes?

    python -m benchmarks.jobs.character_model [--cell GRU] [--hidden 256]
        [--minutes 2.5 | --steps 2000]
    python -m benchmarks.jobs.character_model --compare-dtypes [--hidden 128] [--steps 600]

tinyshakespeare, from SEQMEM_DATA or fetched, or else CPython's language reference: the first nine
tenths to learn from, the last for the test. A cell is trained by truncated backpropagation through
windows of 64 characters with its state carried on, by Adam with a rate that rises and falls. With
--minutes, a few steps are timed to say how many there will be; the time of the tests is beside it.

With --compare-dtypes, computation in bfloat16 with float32 weights and states beside float32, at
the same steps and the same three seeds. XLA may leave out a rounding to bfloat16 that is taken back
at once, and on a CPU much is; XLA_FLAGS=--xla_allow_excess_precision=false forbids it.
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
from ..common.records import Row, as_json, markdown_table, provenance, write_csv
from .text_model import BATCH, CELLS, WINDOW, Text, job, seconds_of, spoken, text_to_learn

TESTS = 5  # in a run
DTYPES = ("float32", "bfloat16")
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax")
REFERENCE = (
    "Published for tinyshakespeare: 1.88 by nanoGPT's recipe for a CPU, a transformer of 4 layers "
    "of 128, 2,000 steps of 12 windows of 64, about 3 minutes (github.com/karpathy/nanoGPT)."
)
SAMPLE = 500  # characters
COMPARED = 3  # seeds


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What does a memory learn of a text?")
    add = parser.add_argument
    add("--cell", choices=CELLS, default="GRU")
    add("--hidden", type=positive_int, default=256, help="entries of the state")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--minutes", type=positive_float, default=2.5, help="of training")
    limit.add_argument("--steps", type=positive_int, help="of training, else as many as fit")
    add("--seed", type=int, default=0)
    add("--dtype", choices=DTYPES, default="float32", help="of what is computed from the weights")
    add("--compare-dtypes", action="store_true", help="both, three seeds each")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


class Trained(NamedTuple):
    """A run: the loss of the test on the way, and the model."""

    model: models.CharacterModel
    rows: list[Row]
    seconds: float


def run(text: Text, chosen: argparse.Namespace, steps: int, seed: int, dtype: str) -> Trained:
    """Train a model, with its progress shown; the time of the tests is in the seconds."""
    own = job(chosen.cell, chosen.hidden, text, seed=seed, steps=steps, narrow=dtype == "bfloat16")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        state, _ = experiment.train(
            own.step,
            own.begin(),
            own.batches,
            key=jax.random.key(seed),
            steps=steps,
            folder=folder,
            validation=experiment.Validation(own.validate, every=max(1, steps // TESTS)),
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
    return Trained(state.model, rows, seconds)


def steps_in(minutes: float, text: Text, chosen: argparse.Namespace) -> int:
    """How many steps fit into some minutes, of which the first ones are taken to find out."""
    start = time.perf_counter()
    own = job(
        chosen.cell,
        chosen.hidden,
        text,
        seed=chosen.seed,
        steps=1000,
        narrow=chosen.dtype == "bfloat16",
    )
    each = seconds_of(own)
    left = 60 * minutes - (time.perf_counter() - start)
    return max(TESTS, int(left / each) // TESTS * TESTS)


def report(record: Row) -> str:
    """The record in Markdown."""
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    runs = [
        [run["dtype"], str(run["seed"]), f"{run['test_loss']:.4f}", f"{run['seconds']:.0f}"]
        for run in record["runs"]
    ]
    parts = [
        f"`{record['command']}`",
        f"{record['machine']}, {record['date']}. Versions: {versions}.",
        f"{record['cell']} of {record['hidden']} on {record['text']}, {record['steps']} steps of "
        f"{BATCH} streams of {WINDOW} characters; loss on the last tenth, nats per character:",
        markdown_table(["dtype", "seed", "test loss", "seconds"], runs),
    ]
    if record["difference"] is not None:
        parts.append(
            f"bfloat16 minus float32, mean of {COMPARED} seeds: {record['difference']:+.4f} nats."
        )
    else:
        parts += [REFERENCE, "A sample:", "```\n" + record["sample"] + "\n```"]
    return "\n\n".join(parts)


def main() -> None:
    chosen = options()
    text = text_to_learn()
    compared = chosen.compare_dtypes
    dtypes = DTYPES if compared else (chosen.dtype,)
    seeds = range(COMPARED) if compared else (chosen.seed,)
    steps = chosen.steps or steps_in(chosen.minutes, text, chosen)
    runs, rows, losses = [], [], {}
    for seed in seeds:
        for dtype in dtypes:
            trained = run(text, chosen, steps, seed, dtype)
            last = trained.rows[-1]["test_loss"]
            runs.append(
                {"dtype": dtype, "seed": seed, "test_loss": last, "seconds": trained.seconds}
            )
            rows += trained.rows
            losses.setdefault(dtype, []).append(last)

    means = {dtype: statistics.fmean(own) for dtype, own in losses.items()}
    record = provenance("benchmarks.jobs.character_model", PACKAGES) | {
        "cell": chosen.cell,
        "hidden": chosen.hidden,
        "text": text.source,
        "steps": steps,
        "runs": runs,
        "difference": means["bfloat16"] - means["float32"] if compared else None,
        "sample": None if compared else spoken(trained.model, text, "\n", SAMPLE),
    }
    print(report(record))
    folder = pathlib.Path(chosen.out)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"character_model{'_dtypes' if compared else ''}_{record['platform']}"
    stem.with_suffix(".json").write_text(as_json(record))
    stem.with_suffix(".md").write_text(report(record) + "\n")
    write_csv(stem.with_suffix(".csv"), rows)
    for kind in ("json", "md", "csv"):
        print(f"wrote {stem}.{kind}", file=sys.stderr)


if __name__ == "__main__":
    main()
