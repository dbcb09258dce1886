"""The training of `translate`: one model for a given time."""

import functools
import time
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax
from tqdm import tqdm

from seqmem import data, experiment, models, training

from ..common.devices import on_first_device
from ..common.records import Row
from .translation_data import BUCKETS, Languages, Pairs, batch_at, evaluation_batches
from .translation_model import Sizes, loss, make_translator, sum_of_losses


def make_optimiser(sizes: Sizes) -> optax.GradientTransformation:
    """Adam with clipping, whose learning rate `with_learning_rate` changes."""
    adam = optax.inject_hyperparams(optax.adam)(learning_rate=sizes.learning_rate)
    return optax.chain(optax.clip_by_global_norm(1.0), adam)


def with_learning_rate(
    state: training.TrainingState, learning_rate: float
) -> training.TrainingState:
    return eqx.tree_at(
        lambda state: state.opt_state[1].hyperparams["learning_rate"],
        state,
        np.float32(learning_rate),
    )


@functools.cache
def compiled_loss():
    return jax.jit(sum_of_losses)


def validation_loss(
    model: models.EncoderDecoder, pairs: Pairs, batch: int, devices: training.DataParallel
) -> float:
    """The mean −ln P of a word."""
    total = weight = 0.0
    for examples in evaluation_batches(pairs.times, batch):
        source, target = devices.shard([data.pad_batch(side, examples)[0] for side in pairs])
        batch_total, count = compiled_loss()(model, source, target)
        total, weight = total + float(batch_total), weight + float(count)
    return total / weight


class Run(NamedTuple):
    """What is trained, for how long, and on which devices."""

    kind: str
    sizes: Sizes
    seed: int
    minutes: float
    devices: training.DataParallel


def train(
    run: Run, languages: Languages, pairs: dict[str, Pairs]
) -> tuple[models.EncoderDecoder, list[Row]]:
    """The model after so many minutes, compilation included, and a row for each epoch."""
    kind, sizes, seed, minutes, devices = run
    start, budget = time.perf_counter(), 60 * minutes
    keys = jax.random.split(jax.random.key(seed), 3)
    buckets = data.Buckets.from_lengths(
        pairs["train"].times, batch_size=sizes.batch, num_buckets=BUCKETS
    )
    batch = batch_at(pairs["train"], buckets)
    optimiser = make_optimiser(sizes)
    gradient = training.TruncatedBPTT(loss, window=max(buckets.padded_lengths))
    step = training.make_step(gradient, optimiser)
    model = make_translator(kind, languages, sizes, keys[0])
    state = training.begin_training(model, optimiser, keys[1])
    state = devices.shard_training(state, gradient)
    rows, totals, position = [], np.zeros(4), 0  # totals: loss, weight, gradient norm, steps

    def epoch_row() -> Row:
        return {
            "model": kind,
            "step": position,
            "epoch": position / len(buckets),
            "seconds": time.perf_counter() - start,
            "training_loss": totals[0] / totals[1],
            "gradient_norm": totals[2] / totals[3],
            "validation_loss": validation_loss(state.model, pairs["val"], sizes.batch, devices),
        }

    with tqdm(total=round(budget), unit="s", desc=kind) as bar:
        while (seconds := time.perf_counter() - start) < budget:
            learning_rate = sizes.learning_rate * min(1.0, 2 - 2 * seconds / budget)
            state = with_learning_rate(state, learning_rate)
            state, metrics = step(state, devices.shard(batch(keys[2], position)))
            experiment.stop_if_skipped(position, metrics)
            weight = float(metrics["weight"])
            totals += float(metrics["loss"]) * weight, weight, float(metrics["gradient_norm"]), 1
            position += 1
            bar.update(round(time.perf_counter() - start) - bar.n)
            if position % len(buckets) == 0:
                rows.append(epoch_row())
                totals[:] = 0
                bar.set_postfix(loss=rows[-1]["validation_loss"], epoch=rows[-1]["epoch"])
    if totals[3]:
        rows.append(epoch_row())
    return on_first_device(state.model), rows
