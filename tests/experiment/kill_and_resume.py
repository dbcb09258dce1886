"""A run that is killed at random moments ends with the bits of one that is not.

    python -m tests.experiment.kill_and_resume [--seed SEED] [--kills 10] [--steps 120]

A small character model with an LSTM, Adam, a carried state and random replacement of inputs is
trained in a process, which is killed by SIGKILL a random number of steps and a random time after
its start, and started again. The kill falls into compilation, into a step, or into the writing of a
checkpoint. A process takes few steps before it is killed, however fast the machine, so that all of
the kills come before the end. At the end the parameters, the optimiser's state, the cell's state,
the keys and the tables are compared with those of a run that was not killed. Exits with 1 where
they differ.
"""

import argparse
import functools
import json
import os
import pathlib
import random
import select
import signal
import sys
import tempfile
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint  # noqa: F401, before the forks

import seqmem
from seqmem import data, experiment, models

TIME, BATCH, HIDDEN = 16, 4, 16
EVERY = 4  # steps between two checkpoints
MAX_AFTER = 2 * EVERY - 1  # to the second checkpoint of a process
MAX_DELAY = 0.2  # seconds from a random step to the kill; writing a checkpoint takes about half
OPTIMISER = optax.adam(1e-2)


class State(NamedTuple):
    model: models.LanguageModel
    opt_state: optax.OptState
    carry: seqmem.AbstractCell
    key: jax.Array


jax.config.update("jax_disable_most_optimizations", True)  # ten processes compile


@functools.partial(jax.jit, static_argnums=0)
def init_state(num_characters: int):
    """One program, since every process compiles it."""
    keys = jax.random.split(jax.random.key(0), 4)
    cell = seqmem.LSTM(num_characters, HIDDEN, key=keys[0])
    model = models.LanguageModel(cell, num_characters, key=keys[1])
    return State(model, OPTIMISER.init(model), model.init_state(BATCH), keys[2]), keys[3]


@jax.jit
def step(state, batch):
    key, dropout_key = jax.random.split(state.key)
    inputs, targets = batch
    inputs = jnp.where(jax.random.bernoulli(dropout_key, 0.1, inputs.shape), 0, inputs)
    model, carry, opt_state, loss = models.train_step(
        state.model, state.carry, state.opt_state, inputs, targets, optimiser=OPTIMISER
    )
    return State(model, opt_state, carry, key), {"loss": loss}


def train(folder: pathlib.Path, steps: int, report=lambda position: None) -> None:
    """Train, from the last checkpoint if there is one, and write the final state."""
    text = data.read_text()[:20_000]
    vocabulary = data.Vocabulary.from_text(text)
    windows = data.segment_text(vocabulary.encode(text), time=TIME, batch=BATCH)
    state, data_key = init_state(len(vocabulary))

    def batch_at(key, position):
        window = experiment.example_at(key, position, len(windows[0]))
        return tuple(part[window] for part in windows)

    def on_step(position, metrics):
        experiment.stop_if_nonfinite(position, metrics)
        report(position)

    def validation_metrics(state):
        batch = windows[0][0], windows[1][0]
        total, weight, _ = models.next_token_loss(state.model, None, batch)
        return {"loss": total / weight}

    state, progress = experiment.train(
        step,
        state,
        batch_at,
        key=data_key,
        steps=steps,
        folder=folder,
        checkpoints=experiment.Checkpoints(folder / "checkpoints", every=EVERY),
        validation=experiment.Validation(jax.jit(validation_metrics), every=2 * EVERY + 1),
        on_step=on_step,
        progress_bar=False,
    )
    assert progress.position == steps
    experiment.save_parameters(folder / "end", state)


def fork(folder: pathlib.Path, steps: int, limit: int | None = None) -> tuple[int, int]:
    """Start a process that trains: its id, and a pipe where it writes a byte after each step.

    It is a fork of a process that has imported everything and run nothing, to save the imports.

    Args:
        folder: the folder of the run.
        steps: steps of the whole run.
        limit: steps of this process, after which it waits to be killed; None: no limit.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child:
        os.close(write_end)
        return child, read_end
    os.close(read_end)
    num_steps = 0

    def report(position):
        nonlocal num_steps
        num_steps += 1
        os.write(write_end, b".")
        if num_steps == limit:
            signal.pause()

    code = 1
    try:
        train(folder, steps, report)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def run_to_end(folder: pathlib.Path, steps: int) -> None:
    child, read_end = fork(folder, steps)
    while os.read(read_end, 4096):
        pass
    os.close(read_end)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"the run failed with status {status}")


def run_and_kill(folder: pathlib.Path, steps: int, after: int, seconds: float) -> int:
    """Start a run, kill it within `after + EVERY` steps, and return the number of its steps.

    Args:
        folder: the folder of the run.
        steps: steps of the whole run.
        after: steps of this process before the time to the kill begins.
        seconds: time to the kill, which comes earlier if the process takes EVERY more steps.
    """
    limit = after + EVERY
    child, read_end = fork(folder, steps, limit)
    num_steps = 0
    while num_steps < after and (signals := os.read(read_end, after - num_steps)):
        num_steps += len(signals)
    deadline = time.monotonic() + seconds
    while num_steps < limit and (seconds := deadline - time.monotonic()) > 0:
        if select.select([read_end], [], [], seconds)[0]:
            if not (signals := os.read(read_end, limit)):
                break
            num_steps += len(signals)
    os.kill(child, signal.SIGKILL)
    while signals := os.read(read_end, limit):
        num_steps += len(signals)
    os.close(read_end)
    _, status = os.waitpid(child, 0)
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        raise SystemExit(f"the run ended with status {status} before its kill")
    return num_steps


def read_rows(folder: pathlib.Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
    """What differs between two runs."""
    names = []
    if (one / "end").read_bytes() != (other / "end").read_bytes():
        names.append("parameters, optimiser, state or key")
    for name in ("training", "validation"):
        if read_rows(one, name) != read_rows(other, name):
            names.append(f"the table {name}")
        if (one / f"{name}.csv").read_bytes() != (other / f"{name}.csv").read_bytes():
            names.append(f"{name}.csv")
    return names


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=None, help="of the moments; default: random")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=120)
    options = parser.parse_args()
    if options.steps <= (most := options.kills * (MAX_AFTER + EVERY)):
        parser.error(f"the processes that are killed take up to {most} steps: pass more --steps")
    return options


def main() -> None:
    options = parse_options()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    rng, start = random.Random(seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        expected, killed = pathlib.Path(place, "expected"), pathlib.Path(place, "killed")
        run_to_end(expected, options.steps)
        for i in range(options.kills):
            after, seconds = rng.randint(0, MAX_AFTER), rng.uniform(0, MAX_DELAY)
            if after == 0:
                seconds *= 10  # the imports are done, the compilation is not
            num_steps = run_and_kill(killed, options.steps, after, seconds)
            saved = sorted(path.name for path in (killed / "checkpoints").glob("*"))
            moment = f"{seconds:.3f} s after {after} steps"
            print(f"kill {i + 1}: {moment}, {num_steps} steps; {saved}")
        run_to_end(killed, options.steps)
        different = differences(expected, killed)
        count = len(read_rows(expected, "training"))
    print(f"{options.kills} kills, {count} steps, {time.perf_counter() - start:.0f} s")
    if different:
        raise SystemExit(f"NOT the bits of the run that was not killed: {', '.join(different)}")
    print("the same bits as the run that was not killed")


if __name__ == "__main__":
    main()
