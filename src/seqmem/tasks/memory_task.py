"""What every memory task offers: examples from a key, right answers, and what is known before any
training.
"""

import abc
import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._core.errors import bad_input


class Examples(NamedTuple):
    """A batch of a task: token ids, or vectors in a further axis, and what to answer at each step.

    Where the weight is 0 nothing is asked, and the target says nothing.
    """

    inputs: Array
    targets: Array
    weights: Float[Array, "time batch"]


@dataclasses.dataclass(frozen=True)
class AbstractMemoryTask(abc.ABC):
    """A problem whose best scores are known: what a memory, a clock and an input alone can reach.

    A task is sizes and nothing else, so it is hashable, and static under jit:
    `jax.jit(task.batch, static_argnames="size")`. Scores are mean losses of the answers that are
    asked for, as `score` computes them; the smaller the better.

    Class attributes:
        best: the score of a model with a perfect memory.
    """

    best: ClassVar[float] = 0.0

    @property
    @abc.abstractmethod
    def input_size(self) -> int:
        """Entries of one input as a vector; of tokens, how many there are."""

    @property
    @abc.abstractmethod
    def answers(self) -> int:
        """Entries of one output: logits of the answers, or 1 for a number."""

    @property
    @abc.abstractmethod
    def lag(self) -> int:
        """Steps between an answer and the earliest input it can depend on."""

    @property
    @abc.abstractmethod
    def memoryless(self) -> float:
        """The score of the best function of the current input alone, in expectation."""

    @property
    @abc.abstractmethod
    def blind(self) -> float:
        """The score of the best function of the step's number alone, in expectation."""

    @abc.abstractmethod
    def batch(self, key: PRNGKeyArray, size: int) -> Examples:
        """`size` examples, time first; the same for the same key."""

    @abc.abstractmethod
    def oracle(self, inputs: Array) -> Array:
        """The right answers, [time, batch], read off the inputs; anything where none is asked."""

    @abc.abstractmethod
    def vectors(self, inputs: Array) -> Float[Array, "time batch input"]:
        """The inputs as a cell reads them."""

    @abc.abstractmethod
    def losses(
        self, outputs: Float[Array, "time batch answers"], targets: Array
    ) -> Float[Array, "time batch"]:
        """The loss of each answer, asked for or not."""

    def score(
        self, outputs: Float[Array, "time batch answers"], examples: Examples
    ) -> Float[Array, ""]:
        """The mean loss of the answers that are asked for."""
        losses, weights = self.losses(outputs, examples.targets), examples.weights
        return (weights * losses).sum() / weights.sum()


class AbstractTokenTask(AbstractMemoryTask):
    """A task of tokens, whose answers are logits: losses are −ln P(answer), in nats."""

    def vectors(self, inputs: Int[Array, "time batch"]) -> Float[Array, "time batch input"]:
        return jax.nn.one_hot(inputs, self.input_size)

    def losses(
        self, outputs: Float[Array, "time batch answers"], targets: Int[Array, "time batch"]
    ):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)


def asked_from(first: int, time: int, size: int) -> Float[Array, "time batch"]:
    """Weights: every step is asked from this one on."""
    asked = (jnp.arange(time)[:, None] >= first).astype(jnp.result_type(float))
    return jnp.broadcast_to(asked, (time, size))


def check_at_least(task: AbstractMemoryTask, **least: int) -> None:
    """Raise a `ValueError` where a size of the task is no whole number or too small."""
    for name, smallest in least.items():
        value = getattr(task, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
            raise bad_input(
                f"{type(task).__name__} got {name}={value!r}.",
                f"a whole number, at least {smallest}.",
                f"choose a larger {name}; it counts steps or tokens.",
            )
