"""Copy memory: ten symbols, a long silence, then all of them again."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .memory_task import AbstractTokenTask, Examples, asked_from, check_at_least

SYMBOLS, LENGTH = 8, 10
GO = SYMBOLS + 1


@dataclasses.dataclass(frozen=True)
class CopyMemory(AbstractTokenTask):
    """Ten symbols of 1 … 8, to be written again after a delay; silence, 0, until then.

        inputs    a_1 … a_10   0 … 0 (delay − 1)   9 … 9 (eleven)
        targets   0 … 0 (delay + 10)               a_1 … a_10

    Every step is asked. Tokens: 10, answers: 9, time: delay + 20, lag: delay + 10.
    Scores: 0 with a memory. A clock knows when, but not what: 10 ln 8/(delay + 20). The current
    input does not tell the first 9 from the others: (ln 11 + 10 ln 8.8)/(delay + 20).
    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), in the layout of the code of
    Bai, Kolter & Koltun 2018, arXiv:1803.01271. Differs: none. Arjovsky et al. 2016,
    arXiv:1511.06464, write one 9 and ten 0 for the eleven 9: the same clock, another function of
    the current input.

    Args:
        delay: steps between the last symbol and the first of its copy, >= 1.

    Raises:
        ValueError: where the delay is no such number.

    Example:
        >>> import jax
        >>> from seqmem import tasks
        >>> task = tasks.CopyMemory(100)
        >>> examples = task.batch(jax.random.key(0), 3)
        >>> examples.inputs.shape, round(task.blind, 6), round(task.memoryless, 5)
        ((120, 3), 0.173287, 0.20121)
    """

    delay: int

    def __post_init__(self):
        check_at_least(self, delay=1)

    @property
    def input_size(self):
        return SYMBOLS + 2

    @property
    def answers(self):
        return SYMBOLS + 1

    @property
    def lag(self):
        return self.delay + LENGTH

    @property
    def blind(self):
        return LENGTH * math.log(SYMBOLS) / (self.lag + LENGTH)

    @property
    def memoryless(self):
        go = LENGTH + 1
        asked = math.log(go) + LENGTH * math.log(go * SYMBOLS / LENGTH)
        return asked / (self.lag + LENGTH)

    def batch(self, key, size):
        symbols = jax.random.randint(key, (LENGTH, size), 1, GO, jnp.int32)
        silence = jnp.zeros((self.delay - 1, size), jnp.int32)
        go = jnp.full((LENGTH + 1, size), GO, jnp.int32)
        inputs = jnp.concatenate([symbols, silence, go])
        targets = jnp.concatenate([jnp.zeros((self.lag, size), jnp.int32), symbols])
        return Examples(inputs, targets, asked_from(0, *targets.shape))

    def oracle(self, inputs: Int[Array, "time batch"]) -> Int[Array, "time batch"]:
        return jnp.zeros_like(inputs).at[-LENGTH:].set(inputs[:LENGTH])
