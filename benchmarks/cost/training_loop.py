"""The cost of the training loop, compared with the bare jitted step.

    python -m benchmarks.cost.training_loop [--batches 16 64] [--steps 20] [--rounds 15]

`experiment.train`, with tables of metrics and a progress bar but without checkpoints, against the
same steps in a plain loop on a batch that is on the device already. Both run in one process, once
per round, in an order drawn for each round. A ratio is the median over the rounds; at 1.05 the loop
adds a twentieth. The model is a character model, an LSTM of 256, on windows of 128 characters; the
batch decides how long a step takes. With Orbax installed, the time of a checkpoint is measured too.
The machine should be idle; the report says whether it was.
"""

import argparse
import contextlib
import io
import pathlib
import statistics
import tempfile
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import seqmem
from seqmem import data, experiment, models

from ..common.character_model import language_model
from ..common.machine import load_note, track_other_load
from ..common.options import positive_int
from ..common.records import Row, markdown_table, provenance, versions_text, write_record
from ..common.timing import median_ratio, time_interleaved

TIME, CHARACTERS = 128, 101
OPTIMISER = optax.adam(1e-3)
PACKAGES = ("seqmem", "jax", "jaxlib", "optax", "orbax-checkpoint", "tqdm")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--batches", nargs="+", type=positive_int, default=[16, 64])
    add("--hidden", type=positive_int, default=256)
    add("--steps", type=positive_int, default=20, help="steps of one call")
    add("--rounds", type=positive_int, default=15)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


class TrainingState(NamedTuple):
    model: models.LanguageModel
    opt_state: optax.OptState
    state: Any


@jax.jit
def step(training: TrainingState, batch: Any) -> tuple[TrainingState, dict[str, jax.Array]]:
    model, state, opt_state, loss = models.train_step(
        training.model, training.state, training.opt_state, *batch, optimiser=OPTIMISER
    )
    return TrainingState(model, opt_state, state), {"loss": loss}


def initial_training_state(hidden: int, batch: int) -> TrainingState:
    keys = jax.random.split(jax.random.key(0))
    cell = seqmem.LSTM(CHARACTERS, hidden, key=keys[0])
    model = language_model(cell, CHARACTERS, keys[1])
    state = jax.tree.map(jnp.array, model.init_state(batch))
    return TrainingState(model, OPTIMISER.init(model), state)


def measure(batch: int, hidden: int, steps: int, rounds: int) -> Row:
    other_cores = track_other_load()
    initial, key = initial_training_state(hidden, batch), jax.random.key(1)
    ids = np.random.default_rng(0).integers(0, CHARACTERS, 7 * TIME * batch + 1, np.int32)
    windows = data.segment_text(ids, time=TIME, batch=batch)
    device_batch = jax.device_put([part[0] for part in windows])

    def batches(key: jax.Array, position: int) -> list[np.ndarray]:
        index = experiment.example_at(key, position, len(windows[0]))
        return [part[index] for part in windows]

    def plain_loop() -> None:
        training = initial
        for _ in range(steps):
            training, metrics = step(training, device_batch)
            jax.block_until_ready(metrics)
        jax.block_until_ready(training)

    def training_loop() -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            training, _ = experiment.train(
                step, initial, batches, key=key, steps=steps, folder=folder, tokens=TIME * batch
            )
            jax.block_until_ready(training)

    seconds = time_interleaved({"bare": plain_loop, "loop": training_loop}, rounds)
    return {
        "batch": batch,
        "ms": {name: 1e3 * statistics.median(times) / steps for name, times in seconds.items()},
        "ratio": median_ratio(seconds["loop"], seconds["bare"]),
        "checkpoint_ms": checkpoint_ms(initial),
        "cores_taken": other_cores(),
    }


def checkpoint_ms(training: TrainingState) -> float | None:
    """The median of seven checkpoints, or None without Orbax."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            checkpoints = experiment.Checkpoints(pathlib.Path(folder))
        except ImportError:
            return None
        times = []
        for position in range(7):
            start = time.perf_counter()
            checkpoints.save(position, training)
            times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""
    rows = record["rows"]
    lines = [
        [str(row["batch"])]
        + [f"{row['ms'][kind]:.1f}" for kind in ("bare", "loop")]
        + [f"{row['ratio']:.3f}"]
        + ["-" if row["checkpoint_ms"] is None else f"{row['checkpoint_ms']:.0f}"]
        for row in rows
    ]
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}, median of {record['rounds']} interleaved "
            f"rounds of {record['steps']} steps. {load_note([row['cores_taken'] for row in rows])}",
            versions_text(record),
            f"Training an LSTM of {record['hidden']} on windows of {TIME} characters, a step alone "
            "and in the loop:",
            markdown_table(["batch", "step ms", "loop ms", "ratio", "checkpoint ms"], lines),
        ]
    )


def main() -> None:
    options = parse_options()
    rows = [
        measure(batch, options.hidden, options.steps, options.rounds)
        for batch in tqdm(options.batches, unit="case")
    ]
    record = provenance("benchmarks.cost.training_loop", PACKAGES) | {
        "rounds": options.rounds,
        "steps": options.steps,
        "hidden": options.hidden,
        "rows": rows,
    }
    print(report(record))
    print("wrote", *write_record(options.out, "training_loop", record, report(record)))


if __name__ == "__main__":
    main()
