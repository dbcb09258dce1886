"""The word problem of a group: the product of the elements so far."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._core.errors import bad_input
from ._groups import Group, cyclic
from ._memory_task import AbstractTokenTask, Examples, check_task_sizes, weights_from


@dataclasses.dataclass(frozen=True)
class WordProblem(AbstractTokenTask):
    """The word problem: random elements of a group, or of some generators of it; the answer is the
    product of those so far.

        target_t = x_1 · x_2 · … · x_t

    Answers count from step `min_length` on. Each prefix of a sequence is a word too, so one example
    has words of all lengths from `min_length` to `max_length`. Tokens and outputs: the group's
    order; lag: max_length − 1.
    Scores: 0 with a memory, ln order without one: one unknown factor makes the product uniform.
    With generators they are the entropies of the products of as many factors, a little less.
    Source: Merrill, Petty & Sabharwal 2024, arXiv:2404.08819, with the groups Z60, A4 × Z5, A5 and
    S5 of their code, jopetty/word-problem; words of some elements alone as in Grazzi et al. 2024,
    arXiv:2411.12537, section 5. Differs: none.

    Args:
        group: such as `cyclic(2)`, `symmetric(3)` or `alternating(5)`.
        max_length: steps, >= min_length.
        min_length: the first length whose answer counts, >= 2.
        generators: the elements that words are made of, by their numbers; None: all.

    Raises:
        ValueError: where a size does not fit, or a generator is no element or comes twice.

    Example:
        >>> import jax.numpy as jnp
        >>> from seqmem import tasks
        >>> task = tasks.WordProblem(tasks.cyclic(3), max_length=4)
        >>> task.oracle(jnp.array([[1], [2], [2], [0]]))[:, 0]
        Array([1, 0, 2, 2], dtype=int32)
    """

    group: Group
    max_length: int
    min_length: int = 2
    generators: tuple[int, ...] | None = None

    def __post_init__(self):
        check_task_sizes(self, max_length=2, min_length=2)
        if self.max_length < self.min_length:
            raise bad_input(
                f"WordProblem got min_length={self.min_length} and max_length={self.max_length}.",
                "min_length <= max_length.",
                "swap the two.",
            )
        if self.generators is not None:
            _check_generators(self.generators, self.group)

    @property
    def input_size(self):
        return self.group.order

    @property
    def output_size(self):
        return self.group.order

    @property
    def lag(self):
        return self.max_length - 1

    @property
    def input_only_score(self):
        if self.generators is None:
            return math.log(self.group.order)
        return float(_entropy(self._product_laws()[self.min_length - 1 : -1].mean(0)))

    @property
    def clock_only_score(self):
        if self.generators is None:
            return math.log(self.group.order)
        return float(_entropy(self._product_laws()[self.min_length :]).mean())

    def _product_laws(self) -> Float[np.ndarray, "length order"]:
        """The probability of every product of 0, 1, ... factors."""
        assert self.generators is not None
        table, laws = self.group.product_table(), np.zeros((self.max_length + 1, self.group.order))
        laws[0, 0] = 1
        for before, after in itertools.pairwise(laws):
            for generator in self.generators:
                after[table[:, generator]] += before / len(self.generators)
        return laws

    def batch(self, key, size):
        shape = (self.max_length, size)
        if self.generators is None:
            inputs = jax.random.randint(key, shape, 0, self.group.order, jnp.int32)
        else:
            inputs = jax.random.choice(key, jnp.asarray(self.generators, jnp.int32), shape)
        return Examples(inputs, self.oracle(inputs), weights_from(self.min_length - 1, *shape))

    def oracle(self, inputs: Int[Array, "time batch"]) -> Int[Array, "time batch"]:
        table = jnp.asarray(self.group.product_table())
        return jax.lax.associative_scan(lambda g, h: table[g, h], inputs)


def _entropy(law: Float[np.ndarray, "*lead order"]) -> Float[np.ndarray, "*lead"]:
    """The entropy of a distribution in its last axis, in nats."""
    return -np.sum(law * np.log(np.where(law > 0, law, 1)), -1)


def _check_generators(generators: tuple[int, ...], group: Group) -> None:
    elements = range(group.order)
    if not generators or len({*generators}) < len(generators) or {*generators} - {*elements}:
        raise bad_input(
            f"WordProblem got generators={generators} of {group.name}.",
            f"one or more different numbers from 0 to {group.order - 1}.",
            "leave them out for words of all elements.",
        )


def parity(max_length: int, min_length: int = 2) -> WordProblem:
    """Parity, the word problem of Z_2: the answer is 1 where the number of ones so far is odd.

    A linear memory with eigenvalues in [0, 1] cannot solve it for all lengths; one with an
    eigenvalue of −1 can (Grazzi et al. 2024, arXiv:2411.12537, theorem 1).

    Args:
        max_length: steps, >= min_length.
        min_length: the first length whose answer counts, >= 2.

    Raises:
        ValueError: where a size does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from seqmem import tasks
        >>> tasks.parity(40, 3).oracle(jnp.array([[1], [0], [1], [1]]))[:, 0]
        Array([1, 1, 0, 1], dtype=int32)
    """
    return WordProblem(cyclic(2), max_length, min_length)
