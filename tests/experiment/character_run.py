"""A small character model and its training run in a folder, in one process or in several."""

import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.experimental.multihost_utils import process_allgather

import seqmem
from seqmem import data, experiment, models, training

TIME, BATCH, HIDDEN = 16, 4, 16
EVERY = 4  # steps between two checkpoints
STEP, SAVE, SAVED = b".", b"[", b"]"  # what a run reports
OPTIMISER = optax.adam(1e-2)


class State(NamedTuple):
    model: models.LanguageModel
    opt_state: optax.OptState
    carry: seqmem.AbstractCell
    key: jax.Array


jax.config.update("jax_disable_most_optimizations", True)  # every process compiles


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


def train(
    folder: pathlib.Path, steps: int, report: Callable[[bytes], object] = lambda event: None
) -> None:
    """Train, from the last checkpoint if there is one, and write the final state.

    Args:
        folder: the folder of the run.
        steps: steps of the whole run.
        report: called with STEP after each step, and with SAVE and SAVED around each checkpoint.
    """
    text = data.read_text()[:20_000]
    vocabulary = data.Vocabulary.from_text(text)
    windows = data.segment_text(vocabulary.encode(text), time=TIME, batch=BATCH)
    devices = training.DataParallel()  # one of each process
    state, data_key = init_state(len(vocabulary))
    carry = devices.shard(state.carry, axis=0)
    state = devices.replicate(state._replace(carry=None))._replace(carry=carry)

    def batch_at(key, position):
        window = experiment.example_at(key, position, len(windows[0]))
        return devices.shard(tuple(part[window] for part in windows))

    def on_step(position, metrics):
        experiment.stop_if_nonfinite(position, metrics)
        report(STEP)

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
        checkpoints=reporting_checkpoints(folder / "checkpoints", report),
        validation=experiment.Validation(jax.jit(validation_metrics), every=2 * EVERY + 1),
        on_step=on_step,
        progress_bar=False,
    )
    assert progress.position == steps
    carry = jax.tree.map(jnp.asarray, process_allgather(state.carry, tiled=True))
    if jax.process_index() == 0:
        experiment.save_parameters(folder / "end", state._replace(carry=carry))


def reporting_checkpoints(folder: pathlib.Path, report: Callable[[bytes], object]):
    checkpoints = experiment.Checkpoints(folder, every=EVERY)
    save = checkpoints.save

    def reporting_save(*args, **options):
        report(SAVE)
        save(*args, **options)
        report(SAVED)

    checkpoints.save = reporting_save
    return checkpoints
