"""Multi-query associative recall: look up the value of a key that came before."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core.errors import bad_input
from ._memory_task import AbstractTokenTask, Examples, check_task_sizes

POWER = 0.01


@dataclasses.dataclass(frozen=True)
class AssociativeRecall(AbstractTokenTask):
    """MQAR: pairs of a key and a value; later each key comes again, and the answer is its value.

        inputs    k_1 v_1 … k_n v_n    then slots of two steps: a key and a blank, or two blanks
        targets                        v of the key − vocabulary/2

    Answers count at the repeated keys. Token 0 is the blank, keys are 1 … vocabulary/2 − 1, values
    the upper half; all keys differ, and so do all values. A key goes to slot j = 1, 2, … with
    probability ∝ j^(0.01 − 1), without replacement: most keys come back soon, some late. Outputs:
    vocabulary/2 logits; lag: from the first key to the last slot.
    Scores: 0 with a memory, ln (vocabulary/2) without one.
    Source: Arora et al. 2023, arXiv:2312.04927, with the probabilities of its code,
    HazyResearch/zoology, and blanks as in the runs of its figure 2 (`random_non_queries=False`).
    Differs: none.

    Args:
        time: steps, even, >= 4 pairs.
        pairs: key-value pairs, >= 1.
        vocabulary: tokens, even, >= 2 pairs + 2.

    Raises:
        ValueError: where a size does not fit.
    """

    time: int
    pairs: int
    vocabulary: int = 8192

    def __post_init__(self):
        check_task_sizes(self, time=4, pairs=1, vocabulary=4)
        least = {"time": 4 * self.pairs, "vocabulary": 2 * self.pairs + 2}
        for name, at_least in least.items():
            value = getattr(self, name)
            if value < at_least or value % 2:
                raise bad_input(
                    f"AssociativeRecall got {name}={value} for pairs={self.pairs}.",
                    f"an even number, at least {at_least}.",
                    f"choose another {name}, or fewer pairs.",
                )

    @property
    def input_size(self):
        return self.vocabulary

    @property
    def output_size(self):
        return self.vocabulary // 2

    @property
    def lag(self):
        return self.time - 2

    @property
    def input_only_score(self):
        return math.log(self.vocabulary // 2)

    @property
    def clock_only_score(self):
        return math.log(self.vocabulary // 2)

    def batch(self, key, size):
        slots = self.time // 2 - self.pairs
        probabilities = jnp.arange(1.0, slots + 1) ** (POWER - 1)

        def draw_example(key):
            keys = jax.random.split(key, 3)

            def choose(key, values, p=None):
                return jax.random.choice(key, values, (self.pairs,), replace=False, p=p)

            k = choose(keys[0], jnp.arange(1, self.output_size, dtype=jnp.int32))
            v = choose(keys[1], jnp.arange(self.output_size, dtype=jnp.int32))
            slot = choose(keys[2], jnp.arange(slots), probabilities / probabilities.sum())
            steps = 2 * (self.pairs + slot)
            blanks = jnp.zeros(self.time, jnp.int32)
            pairs = jnp.stack([k, v + self.output_size], -1).reshape(-1)
            inputs = blanks.at[: 2 * self.pairs].set(pairs).at[steps].set(k)
            weights = jnp.zeros(self.time).at[steps].set(1)
            return Examples(inputs, blanks.at[steps].set(v), weights)

        return jax.vmap(draw_example, out_axes=1)(jax.random.split(key, size))

    def oracle(self, inputs: Int[Array, "time batch"]) -> Int[Array, "time batch"]:
        keys, values = inputs[: 2 * self.pairs].reshape(self.pairs, 2, -1).swapaxes(0, 1)
        index = jnp.argmax(inputs[:, None] == keys, axis=1)
        return jnp.take_along_axis(values, index, 0) - self.output_size
