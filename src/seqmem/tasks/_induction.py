"""Induction: recall the token that followed the marker."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ._memory_task import AbstractTokenTask, Examples, check_task_sizes, weights_from


@dataclasses.dataclass(frozen=True)
class Induction(AbstractTokenTask):
    """Random tokens with a marker, which comes again at the end; the answer is its successor.

        inputs    x … x 0 a x … x 0        marker 0, others 1 … vocabulary − 1
        targets                   a − 1    at the last step

    Tokens: vocabulary; outputs: vocabulary − 1 logits; lag: time − 1.
    Scores: 0 with a memory, ln (vocabulary − 1) without one.
    Source: Gu & Dao 2023, arXiv:2312.00752, section 4.1.2 (a vocabulary of 16, 256 steps, the first
    marker at random), after Olsson et al. 2022, arXiv:2209.11895. Differs: none.

    Args:
        time: steps, >= 3.
        vocabulary: tokens, including the marker, >= 3.

    Raises:
        ValueError: for smaller sizes.
    """

    time: int
    vocabulary: int = 16

    def __post_init__(self):
        check_task_sizes(self, time=3, vocabulary=3)

    @property
    def input_size(self):
        return self.vocabulary

    @property
    def output_size(self):
        return self.vocabulary - 1

    @property
    def lag(self):
        return self.time - 1

    @property
    def input_only_score(self):
        return math.log(self.vocabulary - 1)

    @property
    def clock_only_score(self):
        return math.log(self.vocabulary - 1)

    def batch(self, key, size):
        keys, examples = jax.random.split(key), jnp.arange(size)
        tokens = jax.random.randint(keys[0], (self.time, size), 1, self.vocabulary, jnp.int32)
        step = jax.random.randint(keys[1], (size,), 0, self.time - 2)
        targets = jnp.broadcast_to(tokens[step + 1, examples] - 1, tokens.shape)
        inputs = tokens.at[step, examples].set(0).at[-1].set(0)
        return Examples(inputs, targets, weights_from(self.lag, self.time, size))

    def oracle(self, inputs: Int[Array, "time batch"]) -> Int[Array, "time batch"]:
        successor = jnp.argmax(inputs == 0, axis=0)[None] + 1
        return jnp.broadcast_to(jnp.take_along_axis(inputs, successor, 0) - 1, inputs.shape)
