"""Multi-query associative recall: keys with values, and then the keys again, later."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core.errors import bad_input
from .memory_task import AbstractTokenTask, Examples, check_at_least

POWER = 0.01


@dataclasses.dataclass(frozen=True)
class AssociativeRecall(AbstractTokenTask):
    """MQAR: pairs of a key and a value; then each key comes once more, and its value is asked.

        inputs    k_1 v_1 … k_n v_n    then slots of two steps: a key and a blank, or two blanks
        targets                        v of the key − vocabulary/2

    Asked at the keys. Token 0 is the blank, keys are 1 … vocabulary/2 − 1, values the upper half;
    no key and no value comes twice. A key goes to slot j = 1, 2, … with a probability in proportion
    to j^(0.01 − 1), none to a slot that is taken: most come soon, some late. Answers: vocabulary/2,
    lag: from the first key to the last slot.
    Scores: 0 with a memory, ln (vocabulary/2) without one.
    Source: Arora et al. 2023, arXiv:2312.04927, with the probabilities of its code,
    HazyResearch/zoology, and blanks as in the runs of its figure 2 (`random_non_queries=False`).
    Differs: none.

    Args:
        time: steps, even, >= 4 pairs.
        pairs: >= 1.
        vocabulary: tokens, even, >= 2 pairs + 2.

    Raises:
        ValueError: where a size does not fit.
    """

    time: int
    pairs: int
    vocabulary: int = 8192

    def __post_init__(self):
        check_at_least(self, time=4, pairs=1, vocabulary=4)
        least = {"time": 4 * self.pairs, "vocabulary": 2 * self.pairs + 2}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value < smallest or value % 2:
                raise bad_input(
                    f"AssociativeRecall got {name}={value} for pairs={self.pairs}.",
                    f"an even number, at least {smallest}.",
                    f"choose another {name}, or fewer pairs.",
                )

    @property
    def input_size(self):
        return self.vocabulary

    @property
    def answers(self):
        return self.vocabulary // 2

    @property
    def lag(self):
        return self.time - 2

    @property
    def memoryless(self):
        return math.log(self.vocabulary // 2)

    @property
    def blind(self):
        return math.log(self.vocabulary // 2)

    def batch(self, key, size):
        slots = self.time // 2 - self.pairs
        chances = jnp.arange(1.0, slots + 1) ** (POWER - 1)

        def one(key):
            keys = jax.random.split(key, 3)

            def draw(key, among, p=None):
                return jax.random.choice(key, among, (self.pairs,), replace=False, p=p)

            k = draw(keys[0], jnp.arange(1, self.answers, dtype=jnp.int32))
            v = draw(keys[1], jnp.arange(self.answers, dtype=jnp.int32))
            asked = 2 * (self.pairs + draw(keys[2], jnp.arange(slots), chances / chances.sum()))
            nothing = jnp.zeros(self.time, jnp.int32)
            pairs = jnp.stack([k, v + self.answers], -1).reshape(-1)
            inputs = nothing.at[: 2 * self.pairs].set(pairs).at[asked].set(k)
            weights = jnp.zeros(self.time).at[asked].set(1)
            return Examples(inputs, nothing.at[asked].set(v), weights)

        return jax.vmap(one, out_axes=1)(jax.random.split(key, size))

    def oracle(self, inputs: Int[Array, "time batch"]) -> Int[Array, "time batch"]:
        keys, values = inputs[: 2 * self.pairs].reshape(self.pairs, 2, -1).swapaxes(0, 1)
        which = jnp.argmax(inputs[:, None] == keys, axis=1)
        return jnp.take_along_axis(values, which, 0) - self.answers
