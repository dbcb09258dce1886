"""Batches of sequences of similar length: little padding, and few shapes to compile for."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, PRNGKeyArray

from .._core.errors import bad_input
from .._core.validation import check_count, check_sizes
from ._numpy_rng import numpy_rng

NO_EXAMPLE = -1
"""The index in an unused place of a batch."""


class Batch(NamedTuple):
    """The examples of one batch, and the length to which they are padded.

    Attributes:
        indices: the index of each example; NO_EXAMPLE = −1 in an unused place.
        padded_length: steps.
    """

    indices: Int[np.ndarray, " batch"]
    padded_length: int


@dataclasses.dataclass(frozen=True, eq=False)
class Buckets:
    """Batches by length: every example of a batch is padded to the length of its bucket.

    Each epoch reads every example once. It shuffles the examples of each bucket and cuts them into
    batches, the last of which may have unused places, so that each bucket has one shape; then it
    shuffles the batches of all buckets.

    A jitted step is compiled once per bucket. A batch is a pure function of a key and a position,
    as `seqmem.experiment.train` expects.

    Attributes:
        padded_lengths: the length of each bucket, ascending.
        members: the indices of the examples in each bucket.
        batch_size: places in one batch.

    Example:
        >>> import jax
        >>> from seqmem.data import Buckets
        >>> buckets = Buckets.from_lengths([3, 9, 2, 3, 8, 0], batch_size=2, num_buckets=2)
        >>> buckets.padded_lengths, len(buckets)
        ((3, 9), 3)
        >>> batches = [buckets(jax.random.key(0), position) for position in range(3)]
        >>> sorted(int(i) for batch in batches for i in batch.indices)
        [0, 1, 2, 3, 4, 5]
    """

    padded_lengths: tuple[int, ...]
    members: tuple[Int[np.ndarray, " example"], ...]
    batch_size: int

    @classmethod
    def from_lengths(
        cls, lengths: Sequence[int], *, batch_size: int, num_buckets: int
    ) -> "Buckets":
        """The buckets that need the least padding.

            min over t_1 < … < t_n = max ℓ of  Σ_i (min {t_j : t_j ≥ ℓ_i} − ℓ_i)

        found by dynamic programming over the distinct lengths, in O(num_buckets · distinct²). A
        length of 0 counts as 1, since a sequence without steps cannot be run.

        Args:
            lengths: the length of each example, >= 0.
            batch_size: places in one batch, > 0.
            num_buckets: the most buckets, > 0; a jitted step compiles one program for each.

        Raises:
            ValueError: without an example, or where a number is out of range.
        """
        check_sizes("Buckets", batch_size=batch_size, num_buckets=num_buckets)
        lengths_array = np.asarray(lengths)
        if lengths_array.ndim != 1 or not lengths_array.size or lengths_array.min() < 0:
            raise bad_input(
                f"Buckets got lengths of shape {lengths_array.shape}.",
                "a length, at least 0, for every example, and one example or more.",
                "pass the number of steps of each example.",
            )
        steps = np.maximum(lengths_array, 1)
        padded_lengths = _best_padded_lengths(steps, num_buckets)
        bucket = np.searchsorted(padded_lengths, steps)
        members = tuple(np.flatnonzero(bucket == i) for i in range(len(padded_lengths)))
        return cls(padded_lengths, members, batch_size)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return sum(self._batches_per_bucket)

    @property
    def _batches_per_bucket(self) -> list[int]:
        return [-(-len(members) // self.batch_size) for members in self.members]

    def __call__(self, key: PRNGKeyArray, position: int) -> Batch:
        """The batch at a position of the stream of epochs.

        Args:
            key: random key for the order.
            position: the number of batches before this one, >= 0.
        """
        check_count("Buckets", "position", position, at_least=0, remedy="count batches from 0.")
        epoch, place = divmod(position, len(self))
        ends = np.cumsum(self._batches_per_bucket)
        batch = int(numpy_rng(key, epoch).permutation(len(self))[place])
        bucket = int(np.searchsorted(ends, batch, side="right"))
        batch -= int(ends[bucket]) - self._batches_per_bucket[bucket]
        members = self.members[bucket]
        order = numpy_rng(key, epoch, bucket).permutation(len(members))
        chosen = members[order[batch * self.batch_size : (batch + 1) * self.batch_size]]
        indices = np.full(self.batch_size, NO_EXAMPLE)
        indices[: len(chosen)] = chosen
        return Batch(indices, self.padded_lengths[bucket])


def pad_batch(
    sequences: Sequence[np.ndarray] | Mapping[int, np.ndarray], batch: Batch
) -> tuple[np.ndarray, Int[np.ndarray, " batch"]]:
    """The sequences of a batch, padded with zeros at the end, and their lengths.

    An unused place is a sequence of length 0. A sequence that is longer than the batch is cut.

    Args:
        sequences: the sequence of each example, [length, ...].
        batch: from `Buckets`.

    Returns:
        [time, batch, ...], and the valid steps of each sequence.

    Example:
        >>> import numpy as np
        >>> from seqmem.data import Batch, pad_batch
        >>> pad_batch([np.array([3, 1]), np.array([2])], Batch(np.array([1, 0, -1]), 3))[0].tolist()
        [[2, 3, 0], [0, 1, 0], [0, 0, 0]]
    """
    first = sequences[int(batch.indices[0])]
    xs = np.zeros((batch.padded_length, len(batch.indices), *first.shape[1:]), first.dtype)
    lengths = np.zeros(len(batch.indices), np.int32)
    for i, index in enumerate(batch.indices):
        if index != NO_EXAMPLE:
            sequence = sequences[int(index)][: batch.padded_length]
            xs[: len(sequence), i], lengths[i] = sequence, len(sequence)
    return xs, lengths


def _best_padded_lengths(lengths: Int[np.ndarray, " example"], num_buckets: int) -> tuple[int, ...]:
    """The lengths of the buckets; best[j] is the least padding of the first j distinct lengths."""
    distinct, counts = np.unique(lengths, return_counts=True)
    examples = np.concatenate([[0], np.cumsum(counts)])
    steps = np.concatenate([[0], np.cumsum(counts * distinct)])
    # cost[i, j]: the padding of one bucket with the distinct lengths i to j − 1.
    ends = np.concatenate([[0], distinct])
    cost = (examples - examples[:, None]) * ends - (steps - steps[:, None])
    cost = np.where(np.tri(len(ends), k=-1, dtype=bool), np.inf, cost)
    best, first_of_last_bucket = cost[0], []
    for _ in range(min(num_buckets, len(distinct)) - 1):
        total = best[:, None] + cost
        first_of_last_bucket.append(total.argmin(0))
        best = total.min(0)
    padded_lengths, end = [], len(distinct)
    for first in reversed([np.zeros(len(ends), int), *first_of_last_bucket]):
        if end:
            padded_lengths.append(int(distinct[end - 1]))
        end = int(first[end])
    return tuple(reversed(padded_lengths))
