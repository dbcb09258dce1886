"""What the tasks of the neural Turing machine share: vectors of bits, of which a sequence has as
many as it likes.
"""

import abc
import dataclasses
import math

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from .._core.errors import bad_input
from ._memory_task import AbstractMemoryTask


@dataclasses.dataclass(frozen=True)
class AbstractBitTask(AbstractMemoryTask):
    """A task over vectors of bits; outputs are a logit of each bit, and a loss is −ln P of all bits
    of one answer, in nats.

    Divided by ln 2 and multiplied by the answers of a sequence, a score is the paper's cost in bits
    per sequence.
    """

    @property
    @abc.abstractmethod
    def output_size(self) -> int:
        """Bits of one answer."""

    @property
    def input_only_score(self):
        return self.output_size * math.log(2)

    @property
    def clock_only_score(self):
        return self.output_size * math.log(2)

    def vectors(self, inputs: Float[Array, "time batch input"]) -> Float[Array, "time batch input"]:
        return inputs

    def losses(
        self,
        outputs: Float[Array, "time batch bits"],
        targets: Float[Array, "time batch bits"],
    ):
        return optax.sigmoid_binary_cross_entropy(outputs, targets).sum(-1)


def check_range(owner: str, least: str, most: str, values: tuple[int, int]) -> None:
    """Refuse a least number above the most.

    Raises:
        ValueError: where it is.
    """
    if values[0] > values[1]:
        raise bad_input(
            f"{owner} got {least}={values[0]} for {most}={values[1]}.",
            f"{least} <= {most}.",
            f"choose a smaller {least}, or a larger {most}.",
        )


def select_steps(
    sequence: Float[Array, "length bits"], first: Array, count: Array, time: int
) -> Float[Array, "time bits"]:
    """The first `count` vectors from step `first` on, and zeros elsewhere."""
    steps = jnp.arange(time) - first
    is_inside = (steps >= 0) & (steps < count)
    vectors = sequence[jnp.clip(steps, 0, len(sequence) - 1)]
    return jnp.where(is_inside[:, None], vectors, 0)
