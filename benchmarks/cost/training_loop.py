"""What the training loop costs beside the bare jitted step.

    python -m benchmarks.cost.training_loop [--batches 16 64] [--steps 20] [--rounds 15]

`experiment.train`, with tables of metrics and a progress bar but no checkpoint, against the same
steps one after another on a batch that is on the device already: in one process, one call each
per round, in a new order each round. A ratio is the median over the rounds; 1.05 says that the
loop adds a twentieth. The job is a character model, an LSTM of 256, on windows of 128 characters;
the batch sets how long a step takes. What a checkpoint takes stands beside it, where Orbax is
installed. This wants an idle machine; what others took is reported.
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
from seqmem import tasks, training

from ..common.measure import interleaved, markdown_table, others, provenance, ratio, write
from .speed import IDLE, Row, parse_rounds

TIME, CHARACTERS = 128, 101
OPTIMISER = optax.adam(1e-3)
PACKAGES = ("seqmem", "jax", "jaxlib", "optax", "orbax-checkpoint", "tqdm")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--batches", nargs="+", type=int, default=[16, 64])
    add("--hidden", type=int, default=256)
    add("--steps", type=int, default=20, help="steps of one call")
    add("--rounds", type=parse_rounds, default=15)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


class Run(NamedTuple):
    model: models.CharacterModel
    opt_state: optax.OptState
    state: Any


@jax.jit
def step(run: Run, batch: Any) -> tuple[Run, dict[str, jax.Array]]:
    model, state, opt_state, loss = models.train_step(
        run.model, run.state, run.opt_state, *batch, optimiser=OPTIMISER
    )
    return Run(model, opt_state, state), {"loss": loss}


def begin(hidden: int, batch: int) -> Run:
    keys = jax.random.split(jax.random.key(0))
    cell = seqmem.LSTM(CHARACTERS, hidden, key=keys[0])
    model = models.CharacterModel(cell, CHARACTERS, key=keys[1])
    state = jax.tree.map(jnp.array, model.init_state(batch))
    return Run(model, OPTIMISER.init(model), state)


def measure(batch: int, hidden: int, steps: int, rounds: int) -> Row:
    taken = others()
    run, key = begin(hidden, batch), jax.random.key(1)
    ids = np.random.default_rng(0).integers(0, CHARACTERS, 7 * TIME * batch + 1, np.int32)
    windows = data.windows(ids, time=TIME, batch=batch)
    on_device = jax.device_put([part[0] for part in windows])

    def batches(key: jax.Array, position: int) -> list[np.ndarray]:
        place = experiment.example_at(key, position, len(windows[0]))
        return [part[place] for part in windows]

    def bare() -> None:
        now = run
        for _ in range(steps):
            now, metrics = step(now, on_device)
            jax.block_until_ready(metrics)
        jax.block_until_ready(now)

    def loop() -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            now, _ = experiment.train(
                step, run, batches, key=key, steps=steps, folder=folder, tokens=TIME * batch
            )
            jax.block_until_ready(now)

    seconds = interleaved({"bare": bare, "loop": loop}, rounds)
    return {
        "batch": batch,
        "ms": {name: 1e3 * statistics.median(times) / steps for name, times in seconds.items()},
        "ratio": ratio(seconds["loop"], seconds["bare"]),
        "checkpoint_ms": checkpoint_ms(run),
        "cores_taken": taken(),
    }


def checkpoint_ms(run: Run) -> float | None:
    """Of the median of seven, or None without Orbax."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            checkpoints = experiment.Checkpoints(pathlib.Path(folder))
        except ImportError:
            return None
        times = []
        for position in range(7):
            start = time.perf_counter()
            checkpoints.save(position, run)
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
    busy = [row["cores_taken"] for row in rows]
    known = "Whether the machine was idle is unknown."
    if None not in busy:
        known = "The machine was idle."
        if max(busy) >= IDLE:
            known = f"NOT AN IDLE MACHINE: others took up to {max(busy):.1f} cores; repeat this."
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}, median of {record['rounds']} interleaved "
            f"rounds of {record['steps']} steps. {known}",
            f"Versions: {versions}.",
            f"Training an LSTM of {record['hidden']} on windows of {TIME} characters, a step alone "
            "and in the loop:",
            markdown_table(["batch", "step ms", "loop ms", "ratio", "checkpoint ms"], lines),
        ]
    )


def main() -> None:
    chosen = options()
    rows = [
        measure(batch, chosen.hidden, chosen.steps, chosen.rounds)
        for batch in tqdm(chosen.batches, unit="case")
    ]
    record = provenance("benchmarks.cost.training_loop", PACKAGES) | {
        "rounds": chosen.rounds,
        "steps": chosen.steps,
        "hidden": chosen.hidden,
        "rows": rows,
    }
    print(report(record))
    print("wrote", *write(chosen.out, "training_loop", record, report(record)))


if __name__ == "__main__":
    main()
