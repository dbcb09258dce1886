"""Selective copy: reproduce the symbols among blanks, in their order."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core.errors import bad_input
from ._memory_task import AbstractTokenTask, Examples, check_task_sizes, weights_from


@dataclasses.dataclass(frozen=True)
class SelectiveCopy(AbstractTokenTask):
    """Symbols at random steps among blanks; the answers at the end are the symbols in their order.

        inputs    0 0 a_1 0 a_2 … (context)    m … m (count)     symbols 1 … n, marker m = n + 1
        targets                                a_1 − 1, a_2 − 1, …

    Answers count at the markers. The delays differ from example to example, so a memory that only
    counts steps cannot solve it. Tokens: symbols + 2; outputs: symbols logits; time: context +
    count; lag: context.
    Scores: 0 with a memory, ln symbols without one.
    Source: Gu & Dao 2023, arXiv:2312.00752, section 4.1.1 and appendix E.1, of 16 symbols among
    4096 steps and a vocabulary of 16. Differs: the steps of the markers come after the 4096.

    Args:
        context: steps with symbols and blanks, >= count.
        count: symbols to remember, >= 1.
        symbols: different symbols, >= 2.

    Raises:
        ValueError: where a size does not fit.
    """

    context: int
    count: int = 16
    symbols: int = 14

    def __post_init__(self):
        check_task_sizes(self, context=1, count=1, symbols=2)
        if self.context < self.count:
            raise bad_input(
                f"SelectiveCopy got context={self.context} for count={self.count} symbols.",
                "at least one step for each symbol.",
                "choose a longer context, or fewer symbols to remember.",
            )

    @property
    def input_size(self):
        return self.symbols + 2

    @property
    def output_size(self):
        return self.symbols

    @property
    def lag(self):
        return self.context

    @property
    def input_only_score(self):
        return math.log(self.symbols)

    @property
    def clock_only_score(self):
        return math.log(self.symbols)

    def batch(self, key, size):
        keys = jax.random.split(key)
        symbols = jax.random.randint(
            keys[0], (self.count, size), 1, self.symbols + 1, dtype=jnp.int32
        )
        order = jnp.argsort(jax.random.uniform(keys[1], (self.context, size)), axis=0)
        steps = jnp.sort(order[: self.count], axis=0)
        blanks = jnp.zeros((self.context, size), jnp.int32)
        markers = jnp.full((self.count, size), self.symbols + 1, jnp.int32)
        inputs = jnp.concatenate([blanks.at[steps, jnp.arange(size)].set(symbols), markers])
        targets = jnp.concatenate([blanks, symbols - 1])
        return Examples(inputs, targets, weights_from(self.context, len(inputs), size))

    def oracle(self, inputs: Int[Array, "time batch"]) -> Int[Array, "time batch"]:
        context = inputs[: self.context]
        first = jnp.argsort(context == 0, axis=0, stable=True)[: self.count]  # blanks go last
        answers = jnp.take_along_axis(context, first, 0) - 1
        return jnp.concatenate([jnp.zeros_like(context), answers])
