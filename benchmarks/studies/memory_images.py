"""Images that are read pixel by pixel, as a task for `memory_tasks`."""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8

from seqmem import data, tasks


class Pixels(NamedTuple):
    """Images as sequences, their classes, and the largest value of a pixel."""

    values: UInt8[np.ndarray, "time example"]
    labels: Int[np.ndarray, " example"]
    largest: int


@functools.cache
def load_pixels(source: str, split: str) -> Pixels:
    """The images of a split, row by row: "digits" are scikit-learn's, of which every fifth is a
    test image, and "mnist" are those of `seqmem.data.mnist`.
    """
    if source == "mnist":
        images, labels = data.mnist(split)
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        is_test = np.arange(len(digits.target)) % 5 == 0
        part = is_test if split == "test" else ~is_test
        images, labels = digits.images[part], digits.target[part]
    values = images.reshape(len(images), -1).T
    return Pixels(values.astype(np.uint8), labels.astype(np.int32), int(values.max()))


@dataclasses.dataclass(frozen=True)
class SequentialImages(tasks.AbstractMemoryTask):
    """The class of an image, whose pixels come one after another, row by row; the answer is at the
    last step.

    Inputs: vectors of 1, from 0 to 1; output: logits of 10 classes; lag: pixels − 1. Scores (nats):
    the entropy of the classes, from the clock; as much from the input, since the last pixel is in a
    corner, where nearly all images have the same value. A batch as large as the split is the split.
    """

    source: str
    split: str

    @property
    def input_size(self):
        return 1

    @property
    def output_size(self):
        return 10

    @property
    def lag(self):
        return len(load_pixels(self.source, self.split).values) - 1

    @property
    def input_only_score(self):
        return self.clock_only_score

    @property
    def clock_only_score(self):
        labels = load_pixels(self.source, self.split).labels
        shares = np.bincount(labels) / len(labels)
        return -math.fsum(share * math.log(share) for share in shares)

    def batch(self, key, size):
        values, labels, largest = load_pixels(self.source, self.split)
        if size == len(labels):
            index = jnp.arange(size)
        else:
            index = jax.random.randint(key, (size,), 0, len(labels))
        inputs = jnp.asarray(values)[:, index, None].astype(jnp.result_type(float)) / largest
        shape = inputs.shape[:2]
        is_last = jnp.arange(len(values)) == len(values) - 1
        weights = jnp.broadcast_to(is_last[:, None].astype(inputs.dtype), shape)
        targets = jnp.broadcast_to(jnp.asarray(labels)[index], shape)
        return tasks.Examples(inputs, targets, weights)

    def oracle(self, inputs: Float[Array, "time batch 1"]) -> Int[Array, "time batch"]:
        """The class of the image that is nearest to the inputs."""
        values, labels, largest = load_pixels(self.source, self.split)
        images = jnp.asarray(values / largest, inputs.dtype)
        distances = jnp.square(inputs - images[:, None]).sum(0)  # [batch, example]
        nearest = jnp.asarray(labels)[distances.argmin(1)]
        return jnp.broadcast_to(nearest, inputs.shape[:2])

    def vectors(self, inputs):
        return inputs

    def losses(self, outputs, targets):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
