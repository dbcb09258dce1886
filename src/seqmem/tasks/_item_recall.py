"""Associative recall of the neural Turing machine: which item came after this one."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._bits import AbstractBitTask, check_range, select_steps
from ._memory_task import Examples, check_task_sizes


@dataclasses.dataclass(frozen=True)
class ItemRecall(AbstractBitTask):
    """A list of items, each some vectors of bits; one of them is shown again, and the answer is the
    item that came after it.

        inputs    | a_1 a_2 a_3 | b_1 b_2 b_3 | …   ? b_1 b_2 b_3 ?   0 … 0
        targets                                                       c_1 c_2 c_3

    Answers count at the steps after the query. `|` is the last feature but one of the input, `?`
    the last. The number of items is uniform in min_items … items, the query is any item but the
    last, and what follows the answers is zeros. Where two items of a list are equal, the answer
    follows the first. Inputs: vectors of bits + 2; outputs: bits logits; lag: from the first vector
    of the answer, if it is the second item.
    Scores in nats per vector: 0 with a memory, bits · ln 2 without one.
    Source: Graves, Wayne & Danihelka 2014, arXiv:1410.5401, section 4.3: 2 to 6 items of three
    vectors of 6 bits. Differs: none; the paper does not say whether a delimiter follows the query,
    here one does. `AssociativeRecall` is another task, over tokens.

    Args:
        items: the most items of a list, >= 2.
        bits: of one vector, >= 1.
        item_length: vectors of one item, >= 1.
        min_items: the fewest items of a list, >= 2; `items` for one number alone.

    Raises:
        ValueError: where a size does not fit.

    Example:
        >>> import jax
        >>> from seqmem import tasks
        >>> task = tasks.ItemRecall(6)
        >>> examples = task.batch(jax.random.key(0), 3)
        >>> examples.inputs.shape, examples.targets.shape, int(examples.weights.sum())
        ((32, 3, 8), (32, 3, 6), 9)
    """

    items: int
    bits: int = 6
    item_length: int = 3
    min_items: int = 2

    def __post_init__(self):
        check_task_sizes(self, items=2, bits=1, item_length=1, min_items=2)
        check_range("ItemRecall", "min_items", "items", (self.min_items, self.items))

    @property
    def input_size(self):
        return self.bits + 2

    @property
    def output_size(self):
        return self.bits

    @property
    def period(self) -> int:
        """Steps from one item to the next."""
        return self.item_length + 1

    @property
    def time(self) -> int:
        """Steps of the longest list, with query and answer."""
        return self.items * self.period + 2 * self.item_length + 2

    @property
    def lag(self):
        return self.time - 2

    def batch(self, key, size):
        time, length = self.time, self.item_length

        def draw_example(key):
            keys = jax.random.split(key, 3)
            shape = (self.items, length, self.bits)
            items = jax.random.bernoulli(keys[0], shape=shape).astype(float)
            n = jax.random.randint(keys[1], (), self.min_items, self.items + 1)
            query = items[jax.random.randint(keys[2], (), 0, n - 1)]
            answer = items[jnp.argmax(jnp.all(items == query, axis=(1, 2))) + 1]
            padded = jnp.pad(items, ((0, 0), (1, 0), (0, 0))).reshape(-1, self.bits)
            end = n * self.period  # the first delimiter of the query
            inputs = select_steps(padded, jnp.zeros_like(n), end, time)
            inputs += select_steps(query, end + 1, jnp.asarray(length), time)
            steps = jnp.arange(time)
            bounds = (steps < end) & (steps % self.period == 0)
            queries = (steps == end) | (steps == end + self.period)
            delimiters = jnp.column_stack([bounds, queries]).astype(items.dtype)
            first = end + self.period + 1
            targets = select_steps(answer, first, jnp.asarray(length), time)
            weights = (steps >= first) & (steps < first + length)
            inputs = jnp.column_stack([inputs, delimiters])
            return Examples(inputs, targets, weights.astype(items.dtype))

        return jax.vmap(draw_example, out_axes=1)(jax.random.split(key, size))

    def oracle(self, inputs: Float[Array, "time batch input"]) -> Float[Array, "time batch bits"]:
        def answer(xs: Float[Array, "time input"]) -> Float[Array, "time bits"]:
            end = jnp.argmax(xs[:, -1])
            items = xs[: self.items * self.period, : self.bits]
            items = items.reshape(self.items, self.period, self.bits)[:, 1:]
            query = jax.lax.dynamic_slice_in_dim(xs, end + 1, self.item_length)[:, : self.bits]
            index = jnp.argmax(jnp.all(items == query, axis=(1, 2)))
            first, length = end + self.period + 1, jnp.asarray(self.item_length)
            return select_steps(items[index + 1], first, length, len(xs))

        return jax.vmap(answer, in_axes=1, out_axes=1)(inputs)
