"""The training of a language model of bytes, as `experiment.train` runs it."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray

from seqmem import data, models, training

from .character_training import Job
from .language_texts import Text

WINDOW, BATCH = 128, 16  # bytes of truncated backpropagation, and streams
LEARNING_RATE = 3e-3  # of Adam, at its peak
WEIGHT_DECAY = 0.1
TEST_BYTES, TEST_STREAMS = 100_000, 32

MakeModel = Callable[[PRNGKeyArray], models.LanguageModel]


@functools.lru_cache
def make_step(steps: int) -> tuple[optax.GradientTransformation, training.TruncatedBPTT, Any]:
    """The optimiser, the gradient and the step."""
    rate = optax.warmup_cosine_decay_schedule(0, LEARNING_RATE, min(100, steps // 10), steps)
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(rate, weight_decay=WEIGHT_DECAY, mask=is_matrix),
    )
    gradient = training.TruncatedBPTT(models.next_token_loss, window=WINDOW)
    return optimiser, gradient, training.make_step(gradient, optimiser)


def is_matrix(model: Any) -> Any:
    """Which arrays have weight decay: not the biases, scales and decay rates."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, model)


def make_job(
    make_model: MakeModel, steps: int, seed: int, text: Text, devices: training.DataParallel
) -> Job:
    """Truncated backpropagation through consecutive windows of the streams, the states carried."""
    inputs, targets = data.segment_text(text.training, time=WINDOW, batch=BATCH)
    test = data.segment_text(text.test[:TEST_BYTES], time=WINDOW, batch=TEST_STREAMS)
    test_inputs, test_targets = (devices.shard(np.swapaxes(part, 0, 2)) for part in test)
    optimiser, gradient, step = make_step(steps)

    def batches(key: PRNGKeyArray, position: int) -> tuple[Array, Array]:
        segment = position % len(inputs)
        return devices.shard((inputs[segment], targets[segment]))

    def begin() -> training.TrainingState:
        model = make_model(jax.random.key(seed))
        carry = gradient.init_carry(model.init_state(BATCH), (inputs[0], targets[0]))
        return devices.shard_training(training.begin_training(model, optimiser, carry), gradient)

    def validate(state: training.TrainingState) -> dict[str, float]:
        return {"loss": math.log(2) * float(bits_per_byte(state.model, test_inputs, test_targets))}

    return Job(step, begin, batches, validate)


@jax.jit
def bits_per_byte(model: models.LanguageModel, inputs: Array, targets: Array) -> Array:
    """The mean over all bytes, with the states carried from the start of each stream.

    Args:
        model: the model.
        inputs: [stream, time, segment].
        targets: the byte after each of them.
    """

    def add(carry: tuple, batch: tuple) -> tuple[tuple, None]:
        state, total = carry
        segment_total, _, state = models.next_token_loss(model, state, batch)
        return (state, total + segment_total), None

    batches = jax.tree.map(lambda part: jnp.swapaxes(part, 0, 2), (inputs, targets))
    (_, total), _ = jax.lax.scan(add, (model.init_state(len(inputs)), jnp.zeros(())), batches)
    return total / inputs.size / math.log(2)
