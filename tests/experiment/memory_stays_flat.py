"""The memory of a program does not grow with the number of its steps.

    python -m tests.experiment.memory_stays_flat [--stream-steps 1000000] [--train-steps 2000]

The first part runs a small network as a service does: one jitted call for each step of a batch of
streams, which donates the old state, and whose output is read. The second part trains a language
model on sequences of 1 to 60 tokens in buckets of similar length (`data.Buckets`), by
`experiment.train` with tables. The third part trains it with a checkpoint and a validation every 20
steps.

Each part prints a table: steps, resident memory in MB, live arrays, and programs that XLA has
compiled. After the first tenth of the steps, the memory must grow by less than 4 MB, with
checkpoints by less than 16 MB, and the numbers of arrays and programs must not grow; training
compiles one program of the step for each bucket. Exits with 1 otherwise. Linux only.

Orbax keeps some memory for each checkpoint: 400 calls of its own `Checkpointer.save` without seqmem
add 8 MB (orbax-checkpoint 0.12.8, tensorstore 0.1.86, jax 0.12). Two functions of tensorstore that
it calls, `to_json` and the one that collects metrics, keep 0.2 and 1.7 kB per call.
"""

import argparse
import functools
import gc
import os
import pathlib
import tempfile
import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import seqmem
from seqmem import data, experiment, layers, models

MAX_GROWTH, MAX_GROWTH_OF_CHECKPOINTS = 4, 16  # MB; a float of each step of the stream is 24
NUM_BUCKETS = 5
STREAMS, BATCH, VOCABULARY = 3, 8, 11


class Memory(NamedTuple):
    steps: int
    megabytes: float
    arrays: int
    programs: int


class Meter:
    """Measures the process ten times in a run."""

    def __init__(self, name: str, steps: int):
        self._steps, self._start, self._programs = steps, time.perf_counter(), 0
        self.rows: list[Memory] = []
        jax.monitoring.register_event_duration_secs_listener(self._count)
        print(f"{name}\n{'steps':>9} {'MB':>7} {'arrays':>7} {'programs':>9}")

    def _count(self, event: str, seconds: float, **_) -> None:
        self._programs += event == "/jax/core/compile/backend_compile_duration"

    def __call__(self, position: int) -> None:
        if position % (self._steps // 10):
            return
        gc.collect()
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        row = Memory(position, megabytes, len(jax.live_arrays()), self._programs)
        self.rows.append(row)
        print(f"{row.steps:9} {row.megabytes:7.1f} {row.arrays:7} {row.programs:9}", flush=True)

    def is_flat(self, max_growth: float = MAX_GROWTH) -> bool:
        """Whether nothing has grown since the first tenth."""
        first, last = self.rows[0], self.rows[-1]
        growth = last.megabytes - first.megabytes
        print(f"{growth:+.1f} MB, {time.perf_counter() - self._start:.0f} s")
        others = last.arrays <= first.arrays and last.programs == first.programs
        return growth < max_growth and others


def stream(steps: int) -> bool:
    keys = jax.random.split(jax.random.key(0), 3)
    net = layers.Stack(
        [
            seqmem.CausalConv(1, 16, width=8, key=keys[0]),
            seqmem.GRU(16, 32, key=keys[1]),
            layers.Map(eqx.nn.Linear(32, 1, key=keys[2])),
        ]
    )

    @functools.partial(jax.jit, donate_argnums=1)
    def step(net, state, x):
        return jax.vmap(net)(state, x)

    samples = np.random.default_rng(0).normal(size=(997, STREAMS, 1)).astype(np.float32)
    state, total, meter = net.init_state(STREAMS), 0.0, Meter("streaming", steps)
    for position in range(1, steps + 1):
        state, ys = step(net, state, samples[position % len(samples)])
        total += float(np.asarray(ys).sum())
        meter(position)
    return meter.is_flat() and bool(np.isfinite(total))


def train(steps: int, *, has_checkpoints: bool) -> bool:
    rng = np.random.default_rng(0)
    sequences = [rng.integers(VOCABULARY, size=1 + rng.integers(60)) for _ in range(500)]
    buckets = data.Buckets.from_lengths(
        [len(sequence) for sequence in sequences], batch_size=BATCH, num_buckets=NUM_BUCKETS
    )
    keys = jax.random.split(jax.random.key(0), 3)
    cell = seqmem.GRU(VOCABULARY, 16, key=keys[0])
    model, optimiser = models.LanguageModel(cell, VOCABULARY, key=keys[1]), optax.adam(1e-3)

    def batch_at(key, position):
        tokens, lengths = data.pad_batch(sequences, buckets(key, position))
        return tokens, np.roll(tokens, -1, axis=0), lengths

    def loss(model, batch):
        inputs, targets, lengths = batch
        total, weight, _ = models.next_token_loss(model, None, (inputs, targets), lengths=lengths)
        return total / jnp.maximum(weight, 1)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, batch):
        model, opt_state = state
        value, gradient = jax.value_and_grad(loss)(model, batch)
        updates, opt_state = optimiser.update(gradient, opt_state)
        return (optax.apply_updates(model, updates), opt_state), {"loss": value}

    validation_batch = batch_at(keys[2], 0)
    validation_loss = jax.jit(lambda state: {"loss": loss(state[0], validation_batch)})
    options, max_growth, name = {}, MAX_GROWTH, "training"
    with tempfile.TemporaryDirectory() as folder:
        if has_checkpoints:
            options["checkpoints"] = experiment.Checkpoints(f"{folder}/checkpoints", every=20)
            options["validation"] = experiment.Validation(validation_loss, every=20)
            max_growth, name = MAX_GROWTH_OF_CHECKPOINTS, "training with checkpoints"
        meter = Meter(name, steps)
        experiment.train(
            step,
            (model, optimiser.init(model)),
            batch_at,
            key=keys[2],
            steps=steps,
            folder=folder,
            on_step=lambda position, metrics: meter(position),
            progress_bar=False,
            **options,
        )
    print(f"{step._cache_size()} programs of the step, {len(buckets.padded_lengths)} buckets")
    is_flat = meter.is_flat(max_growth)
    return is_flat and step._cache_size() == len(buckets.padded_lengths) == NUM_BUCKETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stream-steps", type=int, default=1_000_000)
    parser.add_argument("--train-steps", type=int, default=2_000)
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {STREAMS} streams, batches of {BATCH}")
    is_flat = [
        stream(options.stream_steps),
        train(options.train_steps, has_checkpoints=False),
        train(options.train_steps, has_checkpoints=True),
    ]
    if not all(is_flat):
        raise SystemExit("the memory, the arrays or the programs grew")


if __name__ == "__main__":
    main()
