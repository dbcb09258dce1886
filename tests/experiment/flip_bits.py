"""A flipped bit in a file of a run is found, or changes nothing.

    python -m tests.experiment.flip_bits [--flips 20] [--seed SEED]
    python -m tests.experiment.flip_bits --flips 500                 # about five minutes

A small run is trained to its end. Then one bit of one file is flipped, the run is resumed, and the
bit is flipped back: so many random bits of each file of the last checkpoint, of each table, and of
a file of `save_parameters`. Resuming refuses with a ValueError that names the checkpoint or the
file and says what to do; or it returns the same bits, progress and tables, because nothing reads
that bit. After the first refusal for each file, the run is resumed as the message says, without
that checkpoint or without the tables, and ends with the same bits.

Prints a line for each file. Exits with 1 for any other outcome.
"""

import argparse
import collections
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

import jax
import jax.numpy as jnp

from seqmem import experiment
from tests.experiment.trees import assert_same_bits

STEPS, KEY = 13, jax.random.key(3)
SHAPE = (31, 37)  # too large to stand in an index of Orbax


@jax.jit
def step(state, batch):
    error = state["w"] - batch
    return {"w": state["w"] - 0.3 * error, "key": state["key"]}, {"loss": (error**2).mean()}


@jax.jit
def batch_at(key, position):
    return jax.random.normal(jax.random.fold_in(key, position), SHAPE)


@jax.jit
def validation_metrics(state):
    return {"loss": jnp.abs(state["w"]).sum()}


def init_state():
    return {"w": jnp.zeros(SHAPE), "key": jax.random.key(0)}


def train(folder: pathlib.Path, tables: pathlib.Path | None):
    return experiment.train(
        step,
        init_state(),
        batch_at,
        key=KEY,
        steps=STEPS,
        folder=tables,
        checkpoints=experiment.Checkpoints(folder / "checkpoints", every=4),
        validation=experiment.Validation(validation_metrics, every=3),
        progress_bar=False,
    )


class Run:
    """A run of 13 steps, all of whose files are tried."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.end = folder, folder / "end"
        self.state, self.progress = train(folder, folder)
        experiment.save_parameters(self.end, self.state)
        self.checkpoint = sorted((folder / "checkpoints").glob("0*"))[-1]
        self.tables = {path: path.read_bytes() for path in folder.glob("*.*")}
        in_checkpoint = [path for path in self.checkpoint.rglob("*") if path.is_file()]
        self.files = sorted([*in_checkpoint, *self.tables, self.end])

    def outcome(self, path: pathlib.Path) -> str:
        """What happens with a damaged file: "refused", "same", or what is wrong."""
        try:
            if path == self.end:
                state, progress = experiment.load_parameters(path, init_state()), self.progress
            else:
                state, progress = train(self.folder, self.folder)
        except ValueError as error:
            name = self.checkpoint if path.is_relative_to(self.checkpoint) else path
            parts = (f"{name} ", "Expected: ", "What to do: ")
            return "refused" if all(part in str(error) for part in parts) else f"WRONG {error}"
        except Exception as error:
            return f"WRONG {type(error).__name__}: {error}"
        tables = {path: path.read_bytes() for path in self.tables}
        return "same" if self.is_same(state, progress) and tables == self.tables else "WRONG bits"

    def is_same(self, state, progress) -> bool:
        try:
            assert_same_bits(state, self.state)
        except AssertionError:
            return False
        return progress == self.progress

    def resume_as_told(self, path: pathlib.Path) -> str:
        """What a run ends with that resumes without the damaged checkpoint or table."""
        if path == self.end:
            return "same"
        with tempfile.TemporaryDirectory() as copy:
            copy = pathlib.Path(copy, "run")
            shutil.copytree(self.folder, copy)
            if path in self.tables:
                result = train(copy, None)
            else:
                shutil.rmtree(copy / self.checkpoint.relative_to(self.folder))
                result = train(copy, copy)
        return "same" if self.is_same(*result) else "WRONG bits after the previous checkpoint"


def flip_bits(run: Run, path: pathlib.Path, count: int, rng: random.Random) -> collections.Counter:
    """Flip random bits of a file, one at a time, and count the outcomes."""
    content, outcomes = path.read_bytes(), collections.Counter()
    for bit in sorted(rng.sample(range(8 * len(content)), min(count, 8 * len(content)))):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        outcome = run.outcome(path)
        for table, rows in run.tables.items():
            if table != path and table.read_bytes() != rows:
                outcome = "WRONG: another table was changed"
                table.write_bytes(rows)
        if outcome == "refused" and not outcomes["refused"] and run.resume_as_told(path) != "same":
            outcome = "WRONG bits in a run that was resumed as the message says"
        outcomes[outcome] += 1
        path.write_bytes(content)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=None, help="of the bits; default: random")
    parser.add_argument("--flips", type=int, default=20, help="bits of each file")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    rng, start, total = random.Random(seed), time.perf_counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(pathlib.Path(folder, "run"))
        for path in run.files:
            outcomes = flip_bits(run, path, options.flips, rng)
            print(f"{path.relative_to(run.folder)}: {dict(outcomes)}", flush=True)
            total += outcomes
    print(f"{len(run.files)} files: {dict(total)}, {time.perf_counter() - start:.0f} s", flush=True)
    if set(total) - {"refused", "same"}:
        raise SystemExit("a flipped bit was not found")


if __name__ == "__main__":
    # Orbax reports each refusal of its own on standard error as well.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    main()
