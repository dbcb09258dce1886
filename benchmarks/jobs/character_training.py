"""The training of `character_model`: a text as streams, the model, and samples of it."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, Int, PRNGKeyArray

import seqmem
from seqmem import data, models, training

from ..common.character_model import language_model

CELLS: dict[str, Callable[..., seqmem.AbstractCell]] = {"GRU": seqmem.GRU, "LSTM": seqmem.LSTM}
WINDOW, BATCH = 64, 32  # characters of truncated backpropagation, and streams
LEARNING_RATE = 5e-3  # of Adam, at its peak
TEST_STREAMS = 64
WARMUP_STEPS = 10  # before any step is timed


class Text(NamedTuple):
    """A text as ids: nine tenths for training, the last tenth for the test."""

    source: str
    vocabulary: data.Vocabulary
    training: Int[np.ndarray, " length"]
    test: Int[np.ndarray, " length"]


def load_text() -> Text:
    """tinyshakespeare, or CPython's language reference where it cannot be downloaded."""
    try:
        source, text = "tinyshakespeare", data.tiny_shakespeare()
    except (ConnectionError, ValueError) as error:
        source, text = "pydoc_data.topics", data.read_text()
        print(f"CPython's language reference instead of tinyshakespeare: {error}")
    vocabulary = data.Vocabulary.from_text(text)
    ids = vocabulary.encode(text)
    cut = len(ids) * 9 // 10
    return Text(source, vocabulary, ids[:cut], ids[cut:])


class Job(NamedTuple):
    """The arguments of `experiment.train`."""

    step: Callable[..., Any]
    begin: Callable[[], training.TrainingState]
    batches: Callable[[PRNGKeyArray, int], Any]
    validate: Callable[[training.TrainingState], dict[str, float]]


def _loss(bfloat16: bool) -> Callable[..., Any]:
    return training.mixed_precision(models.next_token_loss) if bfloat16 else models.next_token_loss


@functools.partial(jax.jit, static_argnames="bfloat16")
def test_loss(
    model: models.LanguageModel, inputs: Array, targets: Array, *, bfloat16: bool
) -> Array:
    """Nats per character, with the states carried from the start of each stream."""
    state = model.init_state(inputs.shape[1])
    total, weight, _ = _loss(bfloat16)(model, state, (inputs, targets))
    return total / weight


@functools.lru_cache
def make_step(
    steps: int, bfloat16: bool
) -> tuple[optax.GradientTransformation, training.TruncatedBPTT, Callable[..., Any]]:
    """The optimiser, the gradient and the step; all seeds share them, so it is compiled once."""
    rate = optax.warmup_cosine_decay_schedule(0, LEARNING_RATE, min(100, steps // 10), steps)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    gradient = training.TruncatedBPTT(_loss(bfloat16), window=WINDOW)
    return optimiser, gradient, training.make_step(gradient, optimiser)


class Settings(NamedTuple):
    """What is trained, and how."""

    cell: str
    hidden: int
    steps: int
    seed: int
    dtype: str


def make_job(settings: Settings, text: Text, devices: training.DataParallel) -> Job:
    """Truncated backpropagation through consecutive windows of the streams, the states carried.

    Where the streams end they start again, with the states they ended in.
    """
    inputs, targets = data.segment_text(text.training, time=WINDOW, batch=BATCH)
    test_time = (len(text.test) - 1) // TEST_STREAMS
    test_segments = data.segment_text(text.test, time=test_time, batch=TEST_STREAMS)
    test_inputs, test_targets = (devices.shard(part[0]) for part in test_segments)
    bfloat16 = settings.dtype == "bfloat16"
    optimiser, gradient, step = make_step(settings.steps, bfloat16)

    def batches(key: PRNGKeyArray, position: int) -> tuple[Array, Array]:
        segment = position % len(inputs)
        return devices.shard((inputs[segment], targets[segment]))

    def begin() -> training.TrainingState:
        size = len(text.vocabulary)
        keys = jax.random.split(jax.random.key(settings.seed))
        cell = CELLS[settings.cell](size, settings.hidden, key=keys[0])
        model = language_model(cell, size, keys[1])
        carry = gradient.init_carry(model.init_state(BATCH), (inputs[0], targets[0]))
        state = training.begin_training(model, optimiser, carry)
        return devices.shard_training(state, gradient)

    def validate(state: training.TrainingState) -> dict[str, float]:
        value = test_loss(state.model, test_inputs, test_targets, bfloat16=bfloat16)
        return {"loss": float(value)}

    return Job(step, begin, batches, validate)


def seconds_per_step(job: Job) -> float:
    """The median over as many steps as warm it up."""
    state, times = job.begin(), []
    for position in range(2 * WARMUP_STEPS):
        start = time.perf_counter()
        state, metrics = job.step(state, job.batches(jax.random.key(0), position))
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - start)
    return float(np.median(times[WARMUP_STEPS:]))


def sample_text(model: models.LanguageModel, text: Text, prompt: str, length: int) -> str:
    """A sample, with its prompt."""
    ids = text.vocabulary.encode(prompt)
    characters = models.generate(model, ids, max_length=length, key=jax.random.key(0))
    return prompt + text.vocabulary.decode(np.asarray(characters.tokens))
