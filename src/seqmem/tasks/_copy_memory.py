"""Copy memory: reproduce ten symbols after a long delay."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ._memory_task import AbstractTokenTask, Examples, check_task_sizes, weights_from

SYMBOLS, LENGTH = 8, 10
MARKER = SYMBOLS + 1


@dataclasses.dataclass(frozen=True)
class CopyMemory(AbstractTokenTask):
    """Ten symbols of 1 … 8; after a delay the answers are the same symbols, before it 0.

        inputs    a_1 … a_10   0 … 0 (delay − 1)   9 … 9 (eleven)
        targets   0 … 0 (delay + 10)               a_1 … a_10

    Every answer counts. Tokens: 10; outputs: 9 logits; time: delay + 20; lag: delay + 10.
    Scores: 0 with a memory. From the clock, which knows when the symbols are due:
    10 ln 8/(delay + 20). From the input, which cannot tell the first 9 from the other ten:
    (ln 11 + 10 ln 8.8)/(delay + 20).
    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), doi:10.1162/neco.1997.9.8.1735,
    in the layout of the code of Bai, Kolter & Koltun 2018, arXiv:1803.01271. Differs: none.
    Arjovsky et al. 2016, arXiv:1511.06464, write one 9 and ten 0 instead of eleven 9, which changes
    the score from the input alone.

    Args:
        delay: steps between the last symbol and the first of its copy, >= 1.

    Raises:
        ValueError: unless delay is an integer >= 1.

    Example:
        >>> import jax
        >>> from seqmem import tasks
        >>> task = tasks.CopyMemory(100)
        >>> examples = task.batch(jax.random.key(0), 3)
        >>> examples.inputs.shape, round(task.clock_only_score, 5)
        ((120, 3), 0.17329)
    """

    delay: int

    def __post_init__(self):
        check_task_sizes(self, delay=1)

    @property
    def input_size(self):
        return SYMBOLS + 2

    @property
    def output_size(self):
        return SYMBOLS + 1

    @property
    def lag(self):
        return self.delay + LENGTH

    @property
    def clock_only_score(self):
        return LENGTH * math.log(SYMBOLS) / (self.lag + LENGTH)

    @property
    def input_only_score(self):
        markers = LENGTH + 1
        total = math.log(markers) + LENGTH * math.log(markers * SYMBOLS / LENGTH)
        return total / (self.lag + LENGTH)

    def batch(self, key, size):
        symbols = jax.random.randint(key, (LENGTH, size), 1, MARKER, jnp.int32)
        blanks = jnp.zeros((self.delay - 1, size), jnp.int32)
        markers = jnp.full((LENGTH + 1, size), MARKER, jnp.int32)
        inputs = jnp.concatenate([symbols, blanks, markers])
        targets = jnp.concatenate([jnp.zeros((self.lag, size), jnp.int32), symbols])
        return Examples(inputs, targets, weights_from(0, *targets.shape))

    def oracle(self, inputs: Int[Array, "time batch"]) -> Int[Array, "time batch"]:
        return jnp.zeros_like(inputs).at[-LENGTH:].set(inputs[:LENGTH])
