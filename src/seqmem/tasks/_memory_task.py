"""What every memory task offers: examples from a key, the right answers, and baseline scores."""

import abc
import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._core.validation import check_count


class Examples(NamedTuple):
    """A batch of a task, time first.

    Attributes:
        inputs: tokens [time, batch], or vectors [time, batch, input].
        targets: the answer at each step; without meaning where the weight is 0.
        weights: 1 where an answer counts, else 0.
    """

    inputs: Array
    targets: Array
    weights: Float[Array, "time batch"]


@dataclasses.dataclass(frozen=True)
class AbstractMemoryTask(abc.ABC):
    """A task with known best scores: of a memory, of the clock alone, and of the input alone.

    A task consists of sizes only, so it is hashable, and static under jit:
    `jax.jit(task.batch, static_argnames="size")`. A score is a mean loss over the answers that
    count; lower is better.

    Class attributes:
        best_score: the score of a model with a perfect memory.
    """

    best_score: ClassVar[float] = 0.0

    @property
    @abc.abstractmethod
    def input_size(self) -> int:
        """Features of one input vector; for tokens, the size of the vocabulary."""

    @property
    @abc.abstractmethod
    def output_size(self) -> int:
        """Features of one output: logits of the possible answers, or 1 for a number."""

    @property
    @abc.abstractmethod
    def lag(self) -> int:
        """The most steps between an answer and the earliest input that it depends on."""

    @property
    @abc.abstractmethod
    def input_only_score(self) -> float:
        """The expected score of the best function of the current input."""

    @property
    @abc.abstractmethod
    def clock_only_score(self) -> float:
        """The expected score of the best function of the step's index."""

    @abc.abstractmethod
    def batch(self, key: PRNGKeyArray, size: int) -> Examples:
        """`size` random examples; the same key gives the same examples."""

    @abc.abstractmethod
    def oracle(self, inputs: Array) -> Array:
        """The right answers, [time, batch], computed from the inputs; any value where the weight
        is 0.
        """

    @abc.abstractmethod
    def vectors(self, inputs: Array) -> Float[Array, "time batch input"]:
        """The inputs as vectors, as a cell reads them: one-hot for tokens."""

    @abc.abstractmethod
    def losses(
        self, outputs: Float[Array, "time batch output"], targets: Array
    ) -> Float[Array, "time batch"]:
        """The loss of every step, whether its answer counts or not."""

    def score(
        self, outputs: Float[Array, "time batch output"], examples: Examples
    ) -> Float[Array, ""]:
        """The mean loss over the answers that count."""
        losses, weights = self.losses(outputs, examples.targets), examples.weights
        return (weights * losses).sum() / weights.sum()


class AbstractTokenTask(AbstractMemoryTask):
    """A task over tokens; outputs are logits, and losses −ln P(answer), in nats."""

    def vectors(self, inputs: Int[Array, "time batch"]) -> Float[Array, "time batch input"]:
        return jax.nn.one_hot(inputs, self.input_size)

    def losses(self, outputs: Float[Array, "time batch output"], targets: Int[Array, "time batch"]):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)


def weights_from(first: int, time: int, size: int) -> Float[Array, "time batch"]:
    """Weights: 1 from step `first` on, 0 before it."""
    weights = (jnp.arange(time)[:, None] >= first).astype(jnp.result_type(float))
    return jnp.broadcast_to(weights, (time, size))


def check_task_sizes(task: AbstractMemoryTask, **least: int) -> None:
    """Refuse sizes of a task that are no integers or too small.

    Args:
        task: the task.
        least: the smallest value of each field.

    Raises:
        ValueError: for the first such size.
    """
    for name, at_least in least.items():
        remedy = f"choose a larger {name}; it counts steps or tokens."
        value = getattr(task, name)
        check_count(type(task).__name__, name, value, at_least=at_least, remedy=remedy)
