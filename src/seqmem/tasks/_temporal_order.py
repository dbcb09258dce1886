"""Temporal order: name two signals among distractors, in their order."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ._memory_task import AbstractTokenTask, Examples, check_task_sizes, weights_from


@dataclasses.dataclass(frozen=True)
class TemporalOrder(AbstractTokenTask):
    """A or B at an early step and at a later one, among c, d, e, f; the answer is the pair.

        first signal in [T/10, 2T/10), second in [5T/10, 6T/10)
        target_T = first + 2 second,    A = 0, B = 1

    The answer counts at the last step. Tokens: 6 (A, B, c, d, e, f); outputs: 4 logits; lag:
    T − 1 − ⌊T/10⌋.
    Scores: 0 with a memory, ln 4 without one.
    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), task 6a, where 100 to 110 steps
    begin with an E and end with a B; in the form of the code of Pascanu, Mikolov & Bengio 2013,
    arXiv:1211.5063. Differs: none.

    Args:
        time: T, in steps, >= 10.

    Raises:
        ValueError: unless time is an integer >= 10.
    """

    time: int

    def __post_init__(self):
        check_task_sizes(self, time=10)

    @property
    def input_size(self):
        return 6

    @property
    def output_size(self):
        return 4

    @property
    def lag(self):
        return self.time - 1 - self.time // 10

    @property
    def input_only_score(self):
        return math.log(4)

    @property
    def clock_only_score(self):
        return math.log(4)

    def batch(self, key, size):
        keys = jax.random.split(key, 3)
        starts = jnp.array([self.time // 10, self.time // 2])[:, None]
        steps = starts + jax.random.randint(keys[0], (2, size), 0, self.time // 10)
        signals = jax.random.randint(keys[1], (2, size), 0, 2, jnp.int32)
        distractors = jax.random.randint(keys[2], (self.time, size), 2, 6, jnp.int32)
        inputs = distractors.at[steps, jnp.arange(size)].set(signals)
        targets = jnp.broadcast_to(signals[0] + 2 * signals[1], inputs.shape)
        return Examples(inputs, targets, weights_from(self.time - 1, self.time, size))

    def oracle(self, inputs: Int[Array, "time batch"]) -> Int[Array, "time batch"]:
        signals_so_far = (inputs < 2).cumsum(0)
        is_b = inputs == 1
        first, second = (jnp.any(is_b & (signals_so_far == n), axis=0) for n in (1, 2))
        answer = first.astype(jnp.int32) + 2 * second.astype(jnp.int32)
        return jnp.broadcast_to(answer, inputs.shape)
