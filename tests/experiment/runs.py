"""Shared by the tests of experiments: a small run, its tables, and comparisons."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem import experiment

NO_ORBAX = "orbax-checkpoint is not installed"
THREE_PARTS = r"(.|\n)*Expected(.|\n)*What to do"
KEY = jax.random.key(3)


class StoppedError(Exception):
    """Raised to stop a run."""


@jax.jit
def step(state, batch):
    """Move the weights towards the batch, with random noise."""
    key, noise_key = jax.random.split(state["key"])
    error = state["w"] - batch + 0.1 * jax.random.normal(noise_key, batch.shape)
    return {"w": state["w"] - 0.3 * error, "key": key}, {"loss": (error**2).mean()}


def init_state():
    return {"w": jnp.zeros(5), "key": jax.random.key(0)}


@jax.jit
def batch_at(key, position):
    return jax.random.normal(jax.random.fold_in(key, position), (5,)) + 1


@jax.jit
def validation_metrics(state):
    return {"loss": jnp.abs(state["w"] - 1).sum(), "largest": state["w"].max()}


def stop_after(count):
    def on_step(position, metrics):
        if position == count:
            raise StoppedError

    return on_step


def train(steps, folder=None, **options):
    """Train without a progress bar; with a folder, write checkpoints and tables there."""
    if folder is not None:
        pytest.importorskip("orbax.checkpoint", reason=NO_ORBAX)
        checkpoints = experiment.Checkpoints(folder / "checkpoints", every=4)
        options = {"folder": folder, "checkpoints": checkpoints} | options
    options = {"key": KEY, "progress_bar": False} | options
    return experiment.train(step, init_state(), batch_at, steps=steps, **options)


def read_table(folder, name="training"):
    """The rows of a table, which its two files hold alike."""
    lines = (folder / f"{name}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    with (folder / f"{name}.csv").open(newline="") as file:
        csv_rows = list(csv.DictReader(file))
    csv_rows, jsonl_rows = (
        [{k: repr(float(v)) for k, v in row.items()} for row in table] for table in (csv_rows, rows)
    )
    assert csv_rows == jsonl_rows
    return rows


def assert_same_bits(one, other):
    for a, b in ((one["w"], other["w"]), map(jax.random.key_data, (one["key"], other["key"]))):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
