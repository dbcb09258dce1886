"""Flip-flop: read the last written bit."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core.errors import bad_input
from ._memory_task import AbstractTokenTask, Examples, check_task_sizes

WRITE, READ, IGNORE, ZERO = range(4)


@dataclasses.dataclass(frozen=True)
class FlipFlop(AbstractTokenTask):
    """Pairs of an instruction (write, read, ignore) and a bit; a read returns the last written bit.

        inputs    w 1  i 0  r 1  i 1  w 0 …  r 0
        targets             1                0    at each r

    Answers count at each r. Tokens: 5 (w, r, i, 0, 1); outputs: 2 logits; lag: time − 2. The first
    instruction is w and the last is r; the others are i with probability `ignore`, else w or r with
    equal probability. Bits after w and i are uniform.
    Scores: 0 with a memory, ln 2 without one.
    Source: Liu et al. 2023, arXiv:2306.00946 (512 steps, `ignore` = 0.8; 0.1 and 0.98 to test).
    Differs: only the bits after r count, since the others are random.

    Args:
        time: steps, even, >= 4.
        ignore: the probability of an ignore instruction, in [0, 1].

    Raises:
        ValueError: where an argument does not fit.
    """

    time: int
    ignore: float = 0.8

    def __post_init__(self):
        check_task_sizes(self, time=4)
        if self.time % 2 or not 0 <= self.ignore <= 1:
            raise bad_input(
                f"FlipFlop got time={self.time}, ignore={self.ignore}.",
                "an even time, since steps come in pairs, and a probability in [0, 1].",
                "choose an even time, and ignore=0.8 for the paper's task.",
            )

    @property
    def input_size(self):
        return 5

    @property
    def output_size(self):
        return 2

    @property
    def lag(self):
        return self.time - 2

    @property
    def input_only_score(self):
        return math.log(2)

    @property
    def clock_only_score(self):
        return math.log(2)

    def batch(self, key, size):
        keys, shape = jax.random.split(key), (self.time // 2, size)
        p = jnp.array([(1 - self.ignore) / 2, (1 - self.ignore) / 2, self.ignore])
        instructions = jnp.array([WRITE, READ, IGNORE], jnp.int32)
        instruction = jax.random.choice(keys[0], instructions, shape, p=p)
        instruction = instruction.at[0].set(WRITE).at[-1].set(READ)
        bit = jax.random.randint(keys[1], shape, 0, 2, jnp.int32)

        def step(memory, pair):
            instruction, bit = pair
            bit = jnp.where(instruction == READ, memory, bit)
            return jnp.where(instruction == WRITE, bit, memory), bit

        _, bit = jax.lax.scan(step, jnp.zeros(size, jnp.int32), (instruction, bit))
        inputs = jnp.stack([instruction, ZERO + bit], 1).reshape(self.time, size)
        weights = (inputs == READ).astype(jnp.result_type(float))
        return Examples(inputs, jnp.repeat(bit, 2, 0), weights)

    def oracle(self, inputs: Int[Array, "time batch"]) -> Int[Array, "time batch"]:
        steps = jnp.arange(self.time)[:, None]
        last_write = jax.lax.cummax(jnp.where(inputs == WRITE, steps, 0))
        return jnp.take_along_axis(inputs, last_write + 1, 0) - ZERO
