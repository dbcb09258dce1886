"""Adding: the sum of the two marked numbers of a sequence."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._memory_task import AbstractMemoryTask, Examples, check_task_sizes, weights_from


@dataclasses.dataclass(frozen=True)
class Adding(AbstractMemoryTask):
    """Numbers from U[0, 1), two of them marked by a 1; the answer at the last step is their sum.

        x_t = (v_t, m_t),    target_T = Σ_t m_t v_t

    The first mark is in the first half (time // 2 steps), the second in the rest. Inputs: vectors
    of 2; output: 1 number; lag: time − 1.
    Scores (mean squared errors): 0 with a memory. From the clock: 1/6, the variance of the sum, for
    the constant output 1. From the input: 1/12 less where the last input is marked, that is
    1/6 − 1/(12 (time − time // 2)).
    Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), section 5.4, in the form of
    Arjovsky et al. 2016, arXiv:1511.06464. Differs: none.

    Args:
        time: steps, >= 2.

    Raises:
        ValueError: unless time is an integer >= 2.

    Example:
        >>> import jax
        >>> from seqmem import tasks
        >>> task = tasks.Adding(200)
        >>> examples = task.batch(jax.random.key(0), 3)
        >>> examples.inputs.shape, round(task.clock_only_score, 4)
        ((200, 3, 2), 0.1667)
        >>> answers = task.oracle(examples.inputs)[..., None]
        >>> float(task.score(answers, examples))
        0.0
    """

    time: int

    def __post_init__(self):
        check_task_sizes(self, time=2)

    @property
    def input_size(self):
        return 2

    @property
    def output_size(self):
        return 1

    @property
    def lag(self):
        return self.time - 1

    @property
    def input_only_score(self):
        return self.clock_only_score - 1 / (12 * (self.time - self.time // 2))

    @property
    def clock_only_score(self):
        return 1 / 6

    def batch(self, key, size):
        keys = jax.random.split(key, 3)
        values = jax.random.uniform(keys[0], (self.time, size))
        half, steps = self.time // 2, jnp.arange(self.time)[:, None]
        first = jax.random.randint(keys[1], (size,), 0, half)
        second = jax.random.randint(keys[2], (size,), half, self.time)
        marks = ((steps == first) | (steps == second)).astype(values.dtype)
        inputs = jnp.stack([values, marks], -1)
        return Examples(inputs, self.oracle(inputs), weights_from(self.lag, self.time, size))

    def oracle(self, inputs: Float[Array, "time batch 2"]) -> Float[Array, "time batch"]:
        """The sum so far."""
        return (inputs[..., 0] * inputs[..., 1]).cumsum(0)

    def vectors(self, inputs: Float[Array, "time batch 2"]) -> Float[Array, "time batch 2"]:
        return inputs

    def losses(self, outputs: Float[Array, "time batch 1"], targets: Float[Array, "time batch"]):
        return (outputs[..., 0] - targets) ** 2
