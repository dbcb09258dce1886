"""Words of a group: what is the product so far?"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core.errors import bad_input
from .groups import Group, cyclic
from .memory_task import AbstractTokenTask, Examples, asked_from, check_at_least


@dataclasses.dataclass(frozen=True)
class GroupWords(AbstractTokenTask):
    """Random elements of a group; the answer is the product of all that were read.

        target_t = x_1 · x_2 · … · x_t

    Asked at every step from `shortest` on: to a memory that reads one step after another, the
    beginning of a word is a word too, so one example holds words of all lengths from `shortest`
    to `longest`. Tokens and answers: the group's order, lag: longest − 1.
    Scores: 0 with a memory, ln order without one, since one free factor makes the product uniform.
    Source: Merrill, Petty & Sabharwal 2024, arXiv:2404.08819, with the groups Z60, A4 × Z5, A5 and
    S5 of their code, jopetty/word-problem. Differs: none.

    Args:
        group: such as `cyclic(2)`, `symmetric(3)` or `alternating(5)`.
        longest: steps, >= shortest.
        shortest: the first length that is asked, >= 2.

    Raises:
        ValueError: where a size does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from seqmem import tasks
        >>> task = tasks.GroupWords(tasks.cyclic(3), longest=4)
        >>> task.oracle(jnp.array([[1], [2], [2], [0]]))[:, 0]
        Array([1, 0, 2, 2], dtype=int32)
    """

    group: Group
    longest: int
    shortest: int = 2

    def __post_init__(self):
        check_at_least(self, longest=2, shortest=2)
        if self.longest < self.shortest:
            raise bad_input(
                f"GroupWords got shortest={self.shortest} and longest={self.longest}.",
                "shortest <= longest.",
                "exchange the two.",
            )

    @property
    def input_size(self):
        return self.group.order

    @property
    def answers(self):
        return self.group.order

    @property
    def lag(self):
        return self.longest - 1

    @property
    def memoryless(self):
        return math.log(self.group.order)

    @property
    def blind(self):
        return math.log(self.group.order)

    def batch(self, key, size):
        shape = (self.longest, size)
        inputs = jax.random.randint(key, shape, 0, self.group.order, jnp.int32)
        return Examples(inputs, self.oracle(inputs), asked_from(self.shortest - 1, *shape))

    def oracle(self, inputs: Int[Array, "time batch"]) -> Int[Array, "time batch"]:
        table = jnp.asarray(self.group.products())
        return jax.lax.associative_scan(lambda g, h: table[g, h], inputs)


def parity(longest: int, shortest: int = 2) -> GroupWords:
    """Bits; the answer is 1 where the number of ones so far is odd: the words of Z_2.

    A linear memory whose eigenvalues are in [0, 1] cannot solve it for all lengths, one with −1
    among them can (Grazzi et al. 2024, arXiv:2411.12537, theorem 1).

    Args:
        longest: steps, >= shortest.
        shortest: the first length that is asked, >= 2.

    Raises:
        ValueError: where a size does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from seqmem import tasks
        >>> tasks.parity(40, 3).oracle(jnp.array([[1], [0], [1], [1]]))[:, 0]
        Array([1, 1, 0, 1], dtype=int32)
    """
    return GroupWords(cyclic(2), longest, shortest)
