"""Copy of the neural Turing machine: reproduce vectors of bits, as many as came."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._bits import AbstractBitTask, check_range, select_steps
from ._memory_task import Examples, check_task_sizes


@dataclasses.dataclass(frozen=True)
class BitCopy(AbstractBitTask):
    """Random vectors of bits, a delimiter, and then the same vectors again, without any input.

        inputs    a_1 … a_n   delimiter   0 … 0
        targets                           a_1 … a_n

    Answers count at the n steps after the delimiter, which is the last feature of the input; n is
    uniform in min_length … length, and what follows the answers is zeros. Inputs: vectors of bits +
    1; outputs: bits logits; time: 2 length + 1; lag: length + 1.
    Scores in nats per vector: 0 with a memory, bits · ln 2 without one.
    Source: Graves, Wayne & Danihelka 2014, arXiv:1410.5401, section 4.1: vectors of 8 bits, 1 to 20
    of them. Differs: none; the paper does not say how the delimiter is written, here it is a
    feature of its own, as in pytorch-ntm.

    Args:
        length: the most vectors of a sequence, >= 1.
        bits: of one vector, >= 1.
        min_length: the fewest vectors of a sequence, >= 1; `length` for one length alone.

    Raises:
        ValueError: where a size does not fit.

    Example:
        >>> import jax
        >>> from seqmem import tasks
        >>> task = tasks.BitCopy(20)
        >>> examples = task.batch(jax.random.key(0), 3)
        >>> examples.inputs.shape, examples.targets.shape, round(task.clock_only_score, 5)
        ((41, 3, 9), (41, 3, 8), 5.54518)
    """

    length: int
    bits: int = 8
    min_length: int = 1

    def __post_init__(self):
        check_task_sizes(self, length=1, bits=1, min_length=1)
        check_range("BitCopy", "min_length", "length", (self.min_length, self.length))

    @property
    def input_size(self):
        return self.bits + 1

    @property
    def output_size(self):
        return self.bits

    @property
    def lag(self):
        return self.length + 1

    def batch(self, key, size):
        time = 2 * self.length + 1

        def draw_example(key):
            keys = jax.random.split(key)
            vectors = jax.random.bernoulli(keys[0], shape=(self.length, self.bits)).astype(float)
            n = jax.random.randint(keys[1], (), self.min_length, self.length + 1)
            delimiter = (jnp.arange(time) == n).astype(vectors.dtype)
            inputs = select_steps(vectors, jnp.zeros_like(n), n, time)
            targets = select_steps(vectors, n + 1, n, time)
            weights = select_steps(jnp.ones_like(vectors[:, :1]), n + 1, n, time)[:, 0]
            return Examples(jnp.column_stack([inputs, delimiter]), targets, weights)

        return jax.vmap(draw_example, out_axes=1)(jax.random.split(key, size))

    def oracle(self, inputs: Float[Array, "time batch input"]) -> Float[Array, "time batch bits"]:
        delay = jnp.argmax(inputs[..., -1], axis=0) + 1  # from a vector to its copy
        steps = jnp.arange(len(inputs))[:, None] - delay
        vectors = jnp.take_along_axis(inputs[..., :-1], jnp.maximum(steps, 0)[..., None], axis=0)
        return jnp.where(steps[..., None] >= 0, vectors, 0)
