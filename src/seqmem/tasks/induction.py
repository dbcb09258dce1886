"""Induction: what came after the marker, when it was here before?"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .memory_task import AbstractTokenTask, Examples, asked_from, check_at_least


@dataclasses.dataclass(frozen=True)
class Induction(AbstractTokenTask):
    """Random tokens, a marker among them; the marker ends the sequence, and what followed it is
    asked.

        inputs    x … x 0 a x … x 0        marker 0, others 1 … vocabulary − 1
        targets                   a − 1    at the last step

    Tokens: vocabulary, answers: vocabulary − 1, lag: time − 1.
    Scores: 0 with a memory, ln (vocabulary − 1) without one.
    Source: Gu & Dao 2023, arXiv:2312.00752, section 4.1.2 (a vocabulary of 16, 256 steps, the first
    marker at random), after Olsson et al. 2022, arXiv:2209.11895. Differs: none.

    Args:
        time: steps, >= 3.
        vocabulary: tokens, the marker among them, >= 3.

    Raises:
        ValueError: where a size is no such number.
    """

    time: int
    vocabulary: int = 16

    def __post_init__(self):
        check_at_least(self, time=3, vocabulary=3)

    @property
    def input_size(self):
        return self.vocabulary

    @property
    def answers(self):
        return self.vocabulary - 1

    @property
    def lag(self):
        return self.time - 1

    @property
    def memoryless(self):
        return math.log(self.vocabulary - 1)

    @property
    def blind(self):
        return math.log(self.vocabulary - 1)

    def batch(self, key, size):
        keys, examples = jax.random.split(key), jnp.arange(size)
        tokens = jax.random.randint(keys[0], (self.time, size), 1, self.vocabulary, jnp.int32)
        step = jax.random.randint(keys[1], (size,), 0, self.time - 2)
        targets = jnp.broadcast_to(tokens[step + 1, examples] - 1, tokens.shape)
        inputs = tokens.at[step, examples].set(0).at[-1].set(0)
        return Examples(inputs, targets, asked_from(self.lag, self.time, size))

    def oracle(self, inputs: Int[Array, "time batch"]) -> Int[Array, "time batch"]:
        follows = jnp.argmax(inputs == 0, axis=0)[None] + 1
        return jnp.broadcast_to(jnp.take_along_axis(inputs, follows, 0) - 1, inputs.shape)
