"""What `speech_to_word` trains: clips as frames, cells by name, and a model of a word."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import seqmem
from seqmem import data, experiment, training
from seqmem.data.fsdd import RATE

BANDS, HOP = 40, 0.02  # of log_mel; seconds from frame to frame
WIDTH, LAG = 64, 50  # entries of a state; frames that LRU begins to remember
STRETCH, MASK = 1.25, 0.2  # how much faster or slower, and which share may be hidden, in training
BATCH, BUCKETS = 32, 3
LONGEST = 100_000  # frames; any clip is shorter, so gradients go through all of it


def from_both_ends(inputs: int, width: int, *, key: PRNGKeyArray) -> seqmem.layers.Bidirectional:
    """An LSTM from each end."""
    return seqmem.layers.Bidirectional(
        *(seqmem.LSTM(inputs, width, key=own) for own in jax.random.split(key))
    )


def covering(inputs: int, width: int, *, key: PRNGKeyArray) -> seqmem.AbstractCell:
    """A TCN that sees 61 frames back, longer than nearly all clips."""
    return seqmem.blocks.tcn(inputs, width, num_levels=4, width=3, key=key)


CELLS: dict[str, Callable[..., Any]] = {
    "RNN": seqmem.RNN,
    "LSTM": seqmem.LSTM,
    "GRU": seqmem.GRU,
    "BiLSTM": from_both_ends,
    "LRU": functools.partial(seqmem.LRU, r_min=math.exp(-4 / LAG), r_max=math.exp(-1 / LAG)),
    "TCN": covering,
}
RATES = {"RNN": 1e-3}  # else 3e-3


class WordModel(eqx.Module):
    """A cell that hears a word, and a guess which of ten it was.

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
        one = jnp.zeros((1, 1, BANDS)), jnp.ones(1, int)
        pooled = jax.eval_shape(lambda xs, lengths: self.pooled(xs, lengths), *one).shape[-1]
        self.V = jax.random.normal(keys[1], (words, pooled)) / math.sqrt(pooled)
        self.b = jnp.zeros(words)

    def pooled(self, xs: Float[Array, "time batch band"], lengths: Int[Array, " batch"]) -> Array:
        """Without the ReLU, a linear memory would be pooled to a linear function of the clip."""
        _, ys = seqmem.unroll(self.cell, None, xs, lengths=lengths)
        both = jnp.concatenate([ys, jax.nn.relu(ys)], -1)
        return seqmem.layers.pooling.mean(both, lengths)

    def __call__(self, xs, lengths) -> Float[Array, "batch words"]:
        return self.pooled(xs, lengths) @ self.V.T + self.b


def loss(model: WordModel, state: tuple, batch: tuple, lengths: Int[Array, " batch"]):
    """The sum over the clips of −ln P(word), and how many clips there are."""
    xs, words = batch
    losses = optax.softmax_cross_entropy_with_integer_labels(model(xs, lengths), words[0])
    there = lengths > 0
    return jnp.where(there, losses, 0).sum(), there.sum(), state


class Frames(NamedTuple):
    """Clips as a cell hears them, and their words."""

    clips: list[np.ndarray]
    words: Int[np.ndarray, " clip"]


def frames_of(*parts: data.SpokenDigits) -> list[Frames]:
    """Energies in bands, from which each clip's loudness is taken off; mean 0 and deviation 1 in
    each band over the clips of the first part, which is trained on.
    """

    def heard(sound: np.ndarray) -> np.ndarray:
        energies = data.log_mel(sound, RATE, bands=BANDS, hop=HOP)
        return energies - energies.mean()

    clips = [[heard(sound) for sound in part.sounds] for part in parts]
    every = np.concatenate(clips[0])
    mean, deviation = every.mean(0), every.std(0)
    return [
        Frames([(clip - mean) / deviation for clip in own], part.digits)
        for own, part in zip(clips, parts, strict=True)
    ]


def varied(clip: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The clip faster or slower, with a stretch of time and one of the bands set to the mean.

    Source: Park et al. 2019, arXiv:1904.08779 (SpecAugment), for the masks.
    """
    speed = draw.uniform(1 / STRETCH, STRETCH)
    at = np.linspace(0, len(clip) - 1, max(1, int(len(clip) * speed)))
    below = at.astype(int)
    above = np.minimum(below + 1, len(clip) - 1)
    part = (at - below)[:, None].astype(clip.dtype)
    clip = (1 - part) * clip[below] + part * clip[above]
    for axis in (clip, clip.T):  # a view: what is written there is written in the clip
        size = draw.integers(int(MASK * len(axis)) + 1)
        start = draw.integers(len(axis) - size + 1)
        axis[start : start + size] = 0
    return clip


def batches_of(frames: Frames) -> tuple[Callable[[PRNGKeyArray, int], Any], int]:
    """Batches of varied clips by key and position, and how many make an epoch."""
    longest = [int(len(clip) * STRETCH) for clip in frames.clips]
    buckets = data.Buckets.of(longest, batch=BATCH, count=BUCKETS)

    def batches(key: PRNGKeyArray, position: int):
        batch, draw = buckets(key, position), data.generator(key, position)
        clips = {int(i): varied(frames.clips[i], draw) for i in batch.examples if i != data.NONE}
        xs, lengths = data.padded(clips, batch)
        words = frames.words[batch.examples].astype(np.int32)
        return (xs, np.broadcast_to(words, xs.shape[:2])), lengths

    return batches, len(buckets)


@jax.jit
def logits(model: WordModel, xs: Array, lengths: Array) -> Float[Array, "batch words"]:
    return model(xs, lengths)


def answers(model: WordModel, clips: Sequence[np.ndarray]) -> Float[np.ndarray, "clip words"]:
    """The logits of every clip."""
    buckets = data.Buckets.of([len(clip) for clip in clips], batch=100, count=BUCKETS)
    found = np.zeros((len(clips), len(model.b)), np.float32)
    for position in range(len(buckets)):
        batch = buckets(jax.random.key(0), position)
        there = batch.examples != data.NONE
        got = np.asarray(logits(model, *data.padded(clips, batch)))
        found[batch.examples[there]] = got[there]
    return found


def scores(model: WordModel, frames: Frames) -> dict[str, float]:
    """The mean loss, and the share of clips that are understood."""
    found = answers(model, frames.clips)
    losses = optax.softmax_cross_entropy_with_integer_labels(found, frames.words)
    right = found.argmax(-1) == frames.words
    return {"loss": float(losses.mean()), "accuracy": float(right.mean())}


@functools.lru_cache
def recipe(name: str, steps: int) -> tuple[optax.GradientTransformation, Callable[..., Any]]:
    """The optimiser and the step of all seeds of a cell, so that each is compiled once."""
    rate = optax.warmup_cosine_decay_schedule(0, RATES.get(name, 3e-3), steps // 20, steps)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    step = training.make_step(training.TruncatedBPTT(loss, window=LONGEST), optimiser)
    return optimiser, lambda state, batch: step(state, *batch)


def train_word_model(
    name: str, frames: Frames, validation: Frames, *, seed: int, epochs: int, folder: str
) -> WordModel:
    """A model after some epochs; tables of its metrics are in the folder."""
    own, order = jax.random.split(jax.random.key(seed))
    batches, epoch = batches_of(frames)
    optimiser, step = recipe(name, epochs * epoch)
    model = WordModel(name, int(frames.words.max()) + 1, key=own)
    state, _ = experiment.train(
        step,
        training.begin_training(model, optimiser, ()),
        batches,
        key=order,
        steps=epochs * epoch,
        folder=folder,
        validation=experiment.Validation(
            lambda state: scores(state.model, validation), every=epoch
        ),
        progress_bar=False,
    )
    return state.model
