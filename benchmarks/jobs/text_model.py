"""What `character_model` trains: a text cut into streams, and a model that reads them."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, PRNGKeyArray

import seqmem
from seqmem import data, models, training

CELLS: dict[str, Callable[..., seqmem.AbstractCell]] = {"GRU": seqmem.GRU, "LSTM": seqmem.LSTM}
WINDOW, BATCH = 64, 32  # characters that a gradient goes back, and streams
RATE = 5e-3  # of Adam, at most
TESTED = 64  # streams of the test
WARM = 10  # steps before any is timed


class Text(NamedTuple):
    """A text as ids: what is learned from, and the last tenth."""

    source: str
    vocabulary: data.Vocabulary
    training: Int[np.ndarray, " length"]
    test: Int[np.ndarray, " length"]


def text_to_learn() -> Text:
    """tinyshakespeare, or CPython's language reference where it cannot be had."""
    try:
        source, text = "tinyshakespeare", data.tiny_shakespeare()
    except (ConnectionError, ValueError) as error:
        source, text = "pydoc_data.topics", data.read_text()
        print(f"Python's reference in the place of tinyshakespeare: {error}")
    vocabulary = data.Vocabulary.of(text)
    ids = vocabulary.encode(text)
    cut = len(ids) * 9 // 10
    return Text(source, vocabulary, ids[:cut], ids[cut:])


def loss(model: models.CharacterModel, state: Any, batch: tuple) -> tuple[Array, int, Any]:
    """The sum of −ln P(next character), over how many, and the state after them."""
    inputs, targets = batch
    state, logits = model(state, inputs)
    losses = models.character_losses(logits, targets)
    return losses.sum(), losses.size, state


class Job(NamedTuple):
    """A step, what it begins with, and the batches it reads: all that `experiment.train` wants."""

    step: Callable[..., Any]
    begin: Callable[[], training.TrainingState]
    batches: Callable[[PRNGKeyArray, int], Any]
    validate: Callable[[training.TrainingState], dict[str, float]]


@functools.partial(jax.jit, static_argnames="narrow")
def test_loss(
    model: models.CharacterModel, inputs: Array, targets: Array, *, narrow: bool
) -> Array:
    """Nats per character, the states carried from the beginning of each stream."""
    own = training.mixed_precision(loss) if narrow else loss
    total, weight, _ = own(model, model.init_state(inputs.shape[1]), (inputs, targets))
    return total / weight


@functools.lru_cache
def recipe(
    steps: int, narrow: bool
) -> tuple[optax.GradientTransformation, training.TruncatedBPTT, Callable[..., Any]]:
    """What all seeds have in common, so that it is compiled once."""
    rate = optax.warmup_cosine_decay_schedule(0, RATE, min(100, steps // 10), steps)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    own = training.mixed_precision(loss) if narrow else loss
    gradient = training.TruncatedBPTT(own, window=WINDOW)
    return optimiser, gradient, training.make_step(gradient, optimiser)


def job(cell: str, hidden: int, text: Text, *, seed: int, steps: int, narrow: bool) -> Job:
    """Truncated backpropagation through windows of streams, one after another, the states carried.

    Where the streams end they begin again, with the states they ended in.
    """
    inputs, targets = data.windows(text.training, time=WINDOW, batch=BATCH)
    tested = data.windows(text.test, time=(len(text.test) - 1) // TESTED, batch=TESTED)
    optimiser, gradient, step = recipe(steps, narrow)

    def batches(key: PRNGKeyArray, position: int) -> tuple[np.ndarray, np.ndarray]:
        place = position % len(inputs)
        return inputs[place], targets[place]

    def begin() -> training.TrainingState:
        size = len(text.vocabulary)
        keys = jax.random.split(jax.random.key(seed))
        model = models.CharacterModel(CELLS[cell](size, hidden, key=keys[0]), size, key=keys[1])
        carry = gradient.init_carry(model.init_state(BATCH), (inputs[0], targets[0]))
        return training.begin_training(model, optimiser, carry)

    def validate(state: training.TrainingState) -> dict[str, float]:
        found = test_loss(state.model, *(ids[0] for ids in tested), narrow=narrow)
        return {"loss": float(found)}

    return Job(step, begin, batches, validate)


def seconds_of(one: Job) -> float:
    """Seconds of a step, the median of as many as warm it up."""
    state, times = one.begin(), []
    for position in range(2 * WARM):
        start = time.perf_counter()
        state, told = one.step(state, one.batches(jax.random.key(0), position))
        jax.block_until_ready(told)
        times.append(time.perf_counter() - start)
    return float(np.median(times[WARM:]))


@functools.partial(jax.jit, static_argnames="length")
def continued(
    model: models.CharacterModel, first: Int[Array, " start"], key: PRNGKeyArray, *, length: int
) -> Int[Array, " length"]:
    """What the model writes after a beginning, drawn from what it says."""

    def body(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, Int[Array, ""]]:
        state, logits = carry
        drawn = jax.random.categorical(key, logits)
        state, logits = model(state, drawn[None])
        return (state, logits[-1]), drawn

    state, logits = model(model.init_state(), first)
    return jax.lax.scan(body, (state, logits[-1]), jax.random.split(key, length))[1]


def spoken(model: models.CharacterModel, text: Text, start: str, length: int) -> str:
    """A sample, with its beginning."""
    first = jnp.asarray(text.vocabulary.encode(start))
    drawn = continued(model, first, jax.random.key(0), length=length)
    return start + text.vocabulary.decode(np.asarray(drawn))
