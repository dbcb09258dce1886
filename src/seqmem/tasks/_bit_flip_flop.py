"""Bits that pulses set: each output shows the last pulse of its input."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.errors import bad_input
from ._memory_task import AbstractMemoryTask, Examples, check_task_sizes, weights_from


@dataclasses.dataclass(frozen=True)
class BitFlipFlop(AbstractMemoryTask):
    """Inputs of 0 with pulses of −1 and 1; each output shows the last pulse of its input.

        inputs     1  0  0 −1  0  1  0
        targets    1  1  1 −1 −1  1  1      at every step, for each bit

    The first input has a pulse in every bit, later ones with probability `pulse`; signs are
    uniform. Inputs: vectors of `bits`; outputs: `bits` numbers; lag: time − 1.
    Scores (squared errors, mean over the bits): 0 with a memory; 1 from the clock;
    (1 − pulse) (time − 1) / time from the input, which is right at pulses and 0 elsewhere.
    Source: the three-bit flip-flop of Sussillo & Barak 2013, Neural Computation 25(3),
    doi:10.1162/NECO_a_00409, as the README of github.com/mattgolub/fixed-point-finder describes it;
    of the paper only the abstract was read. Differs: the pulses at the first step, so that all
    answers count.

    Args:
        time: steps, >= 2.
        bits: inputs and outputs, >= 1.
        pulse: the probability of a pulse, in [0, 1].

    Raises:
        ValueError: where an argument does not fit.

    Example:
        >>> import jax
        >>> from seqmem import tasks
        >>> task = tasks.BitFlipFlop(20)
        >>> examples = task.batch(jax.random.key(0), 5)
        >>> examples.inputs.shape, examples.targets.shape
        ((20, 5, 3), (20, 5, 3))
        >>> float(task.score(examples.targets, examples))
        0.0
    """

    time: int
    bits: int = 3
    pulse: float = 0.1

    def __post_init__(self):
        check_task_sizes(self, time=2, bits=1)
        if not 0 <= self.pulse <= 1:
            raise bad_input(
                f"BitFlipFlop got pulse={self.pulse}.",
                "a probability in [0, 1].",
                "leave it out for 0.1.",
            )

    @property
    def input_size(self):
        return self.bits

    @property
    def output_size(self):
        return self.bits

    @property
    def lag(self):
        return self.time - 1

    @property
    def input_only_score(self):
        return (1 - self.pulse) * (self.time - 1) / self.time

    @property
    def clock_only_score(self):
        return 1.0

    def batch(self, key, size):
        keys, shape = jax.random.split(key), (self.time, size, self.bits)
        signs = jax.random.rademacher(keys[0], shape, jnp.result_type(float))
        is_pulse = jax.random.bernoulli(keys[1], self.pulse, shape).at[0].set(True)
        inputs = jnp.where(is_pulse, signs, 0)
        return Examples(inputs, self.oracle(inputs), weights_from(0, self.time, size))

    def oracle(self, inputs: Float[Array, "time batch bits"]) -> Float[Array, "time batch bits"]:
        steps = jnp.arange(self.time)[:, None, None]
        last_pulse = jax.lax.cummax(jnp.where(inputs != 0, steps, 0))
        return jnp.take_along_axis(inputs, last_pulse, 0)

    def vectors(self, inputs: Float[Array, "time batch bits"]) -> Float[Array, "time batch bits"]:
        return inputs

    def losses(
        self, outputs: Float[Array, "time batch bits"], targets: Float[Array, "time batch bits"]
    ):
        return ((outputs - targets) ** 2).mean(-1)
