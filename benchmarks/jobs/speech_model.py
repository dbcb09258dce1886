"""The models of `speech_to_word`, their training and their scores."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import seqmem
from seqmem import data, experiment, training

from ..common.devices import on_first_device
from .speech_features import BANDS, Features, evaluation_batches, training_batches

WIDTH = 64  # entries of a state
LAG = 50  # frames, of LRU's initial memory
WINDOW = 100_000  # frames; longer than any clip, so that nothing is truncated


def bidirectional_lstm(
    inputs: int, width: int, *, key: PRNGKeyArray
) -> seqmem.layers.Bidirectional:
    forward, backward = (
        seqmem.LSTM(inputs, width, key=cell_key) for cell_key in jax.random.split(key)
    )
    return seqmem.layers.Bidirectional(forward, backward)


def tcn(inputs: int, width: int, *, key: PRNGKeyArray) -> seqmem.AbstractCell:
    """A TCN whose outputs see the last 61 frames, which is longer than nearly all clips."""
    return seqmem.blocks.tcn(inputs, width, num_levels=4, width=3, key=key)


CELLS: dict[str, Callable[..., Any]] = {
    "RNN": seqmem.RNN,
    "LSTM": seqmem.LSTM,
    "GRU": seqmem.GRU,
    "BiLSTM": bidirectional_lstm,
    "LRU": functools.partial(seqmem.LRU, r_min=math.exp(-4 / LAG), r_max=math.exp(-1 / LAG)),
    "TCN": tcn,
}
LEARNING_RATES = {"RNN": 1e-3}  # 3e-3 for the others


class WordModel(eqx.Module):
    """A classifier of clips: a memory, mean pooling, and a linear layer.

    y_1 … y_T = cell(x_1 … x_T)
    p = (mean_t y_t, mean_t ReLU(y_t))
    P(word = i) = softmax(V p + b)_i
    """

    cell: Any
    V: Float[Array, "words pooled"]
    b: Float[Array, " words"]

    def __init__(self, name: str, words: int, *, key: PRNGKeyArray):
        keys = jax.random.split(key)
        self.cell = CELLS[name](BANDS, WIDTH, key=keys[0])
        (output_size,) = self.cell.output_shape
        self.V = jax.random.normal(keys[1], (words, 2 * output_size)) / math.sqrt(2 * output_size)
        self.b = jnp.zeros(words)

    def __call__(
        self, xs: Float[Array, "time batch band"], lengths: Int[Array, " batch"]
    ) -> Float[Array, "batch words"]:
        _, ys = seqmem.unroll(self.cell, None, xs, lengths=lengths)
        # Without the ReLU, the logits of a linear memory would be linear in the clip.
        ys = jnp.concatenate([ys, jax.nn.relu(ys)], -1)
        return seqmem.layers.pooling.mean(ys, lengths=lengths) @ self.V.T + self.b


def loss(model: WordModel, state: tuple, batch: tuple, lengths: Int[Array, " batch"]):
    """The sum of −ln P(word) over the clips, and the number of clips."""
    xs, words = batch
    losses = optax.softmax_cross_entropy_with_integer_labels(model(xs, lengths), words[0])
    is_clip = lengths > 0
    return jnp.where(is_clip, losses, 0).sum(), is_clip.sum(), state


@jax.jit
def logits_of_batch(model: WordModel, xs: Array, lengths: Array) -> Float[Array, "batch words"]:
    return model(xs, lengths)


def logits_of(model: WordModel, clips: Sequence[np.ndarray]) -> Float[np.ndarray, "clip words"]:
    """The logits of every clip."""
    logits = np.zeros((len(clips), len(model.b)), np.float32)
    for batch in evaluation_batches(clips):
        is_clip = batch.indices != data.NO_EXAMPLE
        batch_logits = np.asarray(logits_of_batch(model, *data.pad_batch(clips, batch)))
        logits[batch.indices[is_clip]] = batch_logits[is_clip]
    return logits


def scores(model: WordModel, features: Features) -> dict[str, float]:
    """The mean loss, and the accuracy."""
    logits = logits_of(model, features.clips)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, features.words)
    is_right = logits.argmax(-1) == features.words
    return {"loss": float(losses.mean()), "accuracy": float(is_right.mean())}


@functools.lru_cache
def make_step(
    name: str, steps: int
) -> tuple[optax.GradientTransformation, training.TruncatedBPTT, Callable[..., Any]]:
    """The optimiser, the gradient and the step; all seeds of a cell share them, so the step is
    compiled once.
    """
    rate = optax.warmup_cosine_decay_schedule(0, LEARNING_RATES.get(name, 3e-3), steps // 20, steps)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    gradient = training.TruncatedBPTT(loss, window=WINDOW)
    step = training.make_step(gradient, optimiser)
    return optimiser, gradient, lambda state, batch: step(state, *batch)


def train_word_model(
    name: str,
    parts: tuple[Features, Features],
    devices: training.DataParallel,
    *,
    seed: int,
    epochs: int,
    folder: str,
    make_model: Callable[..., Any] = WordModel,
) -> Any:
    """A model after some epochs on the first part, with validation on the second. The tables of its
    metrics are written into the folder. `make_model` takes the name, the number of words and a key.
    """
    features, validation = parts
    model_key, order_key = jax.random.split(jax.random.key(seed))
    batches, epoch = training_batches(features)
    optimiser, gradient, step = make_step(name, epochs * epoch)
    model = make_model(name, int(features.words.max()) + 1, key=model_key)
    state, _ = experiment.train(
        step,
        devices.shard_training(training.begin_training(model, optimiser, ()), gradient),
        lambda key, position: devices.shard(batches(key, position), (1, 0)),
        key=order_key,
        steps=epochs * epoch,
        folder=folder,
        validation=experiment.Validation(
            lambda state: scores(on_first_device(state.model), validation), every=epoch
        ),
        progress_bar=False,
    )
    return on_first_device(state.model)
