"""A run killed at drawn moments ends with the bits of one that was left alone.

    python -m tests.experiment.kill_and_resume [--seed SEED] [--kills 10] [--steps 50]

A small character job, with an LSTM, Adam, a carried state and characters left out at random. The
process that trains is killed by SIGKILL after a drawn number of steps and a drawn time on top,
which falls into compiling, into steps or into the writing of a checkpoint, and is started again.
Then the parameters, the optimiser, the state, the keys and the tables are compared with those of a
run that nobody killed. Exits with 1 where they differ.
"""

import argparse
import functools
import json
import os
import pathlib
import random
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

TIME, BATCH, WIDTH = 16, 4, 16
EVERY = 4  # steps from checkpoint to checkpoint
LONGEST = 0.2  # seconds from a drawn step to the kill: a checkpoint takes about half of it
OPTIMISER = optax.adam(1e-2)


class Run(NamedTuple):
    model: models.CharacterModel
    opt_state: optax.OptState
    state: seqmem.AbstractCell
    key: jax.Array


jax.config.update("jax_disable_most_optimizations", True)  # compiled ten times over


@functools.partial(jax.jit, static_argnums=0)
def begin(characters: int):
    """In one program, since each of its own would be compiled by every process."""
    keys = jax.random.split(jax.random.key(0), 4)
    cell = seqmem.LSTM(characters, WIDTH, key=keys[0])
    model = models.CharacterModel(cell, characters, key=keys[1])
    return Run(model, OPTIMISER.init(model), model.init_state(BATCH), keys[2]), keys[3]


@jax.jit
def step(run, batch):
    key, own = jax.random.split(run.key)
    inputs, targets = batch
    inputs = jnp.where(jax.random.bernoulli(own, 0.1, inputs.shape), 0, inputs)
    model, state, opt_state, loss = models.train_step(
        run.model, run.state, run.opt_state, inputs, targets, optimiser=OPTIMISER
    )
    return Run(model, opt_state, state, key), {"loss": loss}


def train(folder: pathlib.Path, steps: int, tell=lambda position: None) -> None:
    """The job, from its last checkpoint if there is one; what it ends with is written."""
    text = data.read_text()[:20_000]
    vocabulary = data.Vocabulary.from_text(text)
    windows = data.segment_text(vocabulary.encode(text), time=TIME, batch=BATCH)
    run, order = begin(len(vocabulary))

    def batches(key, position):
        place = experiment.example_at(key, position, len(windows[0]))
        return tuple(part[place] for part in windows)

    def watch(position, row):
        experiment.stop_where_not_finite(position, row)
        tell(position)

    def validate(run):
        _, logits = run.model(run.model.init_state(BATCH), windows[0][0])
        return {"loss": models.character_losses(logits, windows[1][0]).mean()}

    run, progress = experiment.train(
        step,
        run,
        batches,
        key=order,
        steps=steps,
        folder=folder,
        checkpoints=experiment.Checkpoints(folder / "checkpoints"),
        checkpoint_every=EVERY,
        validate=jax.jit(validate),
        validate_every=2 * EVERY + 1,
        watch=watch,
        bar=False,
    )
    assert progress.position == steps
    experiment.save_parameters(folder / "end", run)


def fork(folder: pathlib.Path, steps: int) -> tuple[int, int]:
    """A process that trains, and the pipe where it writes a byte after each step it makes.

    It is forked from one that has imported all but never run anything, to spare the importing.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        return child, reads
    os.close(reads)
    code = 1
    try:
        train(folder, steps, lambda position: os.write(writes, b"."))
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def leave_alone(folder: pathlib.Path, steps: int) -> None:
    child, reads = fork(folder, steps)
    while os.read(reads, 4096):
        pass
    os.close(reads)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"the job failed with status {status}")


def kill(folder: pathlib.Path, steps: int, after: int, seconds: float) -> tuple[int, bool]:
    """Kill the job so long after so many steps of its own; how many it made, and whether it was
    not over by then.
    """
    child, reads = fork(folder, steps)
    made = 0
    while made < after and (told := os.read(reads, after - made)):
        made += len(told)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    while told := os.read(reads, 4096):
        made += len(told)
    os.close(reads)
    _, status = os.waitpid(child, 0)
    struck = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if status and not struck:
        raise SystemExit(f"the job failed with status {status}")
    return made, struck


def told(folder: pathlib.Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
    found = []
    if (one / "end").read_bytes() != (other / "end").read_bytes():
        found.append("parameters, optimiser, state or key")
    for name in ("training", "validation"):
        if told(one, name) != told(other, name):
            found.append(f"the table {name}")
        if (one / f"{name}.csv").read_bytes() != (other / f"{name}.csv").read_bytes():
            found.append(f"{name}.csv")
    return found


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seed", type=int, default=None, help="for the moments; drawn if not given"
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=50)
    return parser.parse_args()


def main() -> None:
    chosen = options()
    seed = random.SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    draw, begun = random.Random(seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        alone, killed = pathlib.Path(place, "alone"), pathlib.Path(place, "killed")
        leave_alone(alone, chosen.steps)
        kills = 0
        for i in range(chosen.kills):
            # So few that even ten of them, each with what is made within LONGEST, are not the end.
            after, seconds = draw.randrange(8), draw.uniform(0, LONGEST)
            if after == 0:
                seconds *= 10  # importing is over, compiling is not
            made, struck = kill(killed, chosen.steps, after, seconds)
            kills += struck
            kept = sorted(path.name for path in (killed / "checkpoints").glob("*"))
            end = "" if struck else ", too late"
            print(f"kill {i + 1}: {seconds:.3f} s after {after} steps, {made} made{end}; {kept}")
        leave_alone(killed, chosen.steps)
        wrong = differences(alone, killed)
        count = len(told(alone, "training"))
    if 2 * kills < chosen.kills:
        raise SystemExit(f"only {kills} kills were in time: give more --steps")
    print(f"{kills} kills, {count} steps, {time.perf_counter() - begun:.0f} s")
    if wrong:
        raise SystemExit(f"NOT the bits of the run that was left alone: {', '.join(wrong)}")
    print("the same bits as the run that was left alone")


if __name__ == "__main__":
    main()
