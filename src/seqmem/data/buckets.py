"""Batches of sequences of about one length: little is padded, and few programs are compiled."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, PRNGKeyArray

from .._core.errors import bad_input
from .draws import generator

NONE = -1  # in the place of an example


class Batch(NamedTuple):
    """Which examples, NONE = −1 where there is none any more, and how long to pad them."""

    examples: Int[np.ndarray, " batch"]
    time: int


@dataclasses.dataclass(frozen=True, eq=False)
class Buckets:
    """Batches at positions: all examples of a batch are padded to one of few lengths.

    An epoch reads every example once. In each,

        the examples of each bucket are shuffled and cut into batches; where the last is not full,
        the rest of it is no example, so that there is one shape for each bucket;
        the batches of all buckets are shuffled.

    So a jitted step is compiled once for each bucket, and a batch is a pure function of a key and a
    position, as `seqmem.experiment.train` wants it.

    Attributes:
        times: the padded lengths, from the shortest.
        members: the examples of each bucket.
        batch: examples in one batch.

    Example:
        >>> import jax
        >>> from seqmem.data import Buckets
        >>> buckets = Buckets.of([3, 9, 2, 3, 8, 0], batch=2, count=2)
        >>> buckets.times, len(buckets)
        ((3, 9), 3)
        >>> read = [buckets(jax.random.key(0), position) for position in range(3)]
        >>> sorted(int(i) for batch in read for i in batch.examples)
        [0, 1, 2, 3, 4, 5]
    """

    times: tuple[int, ...]
    members: tuple[Int[np.ndarray, " example"], ...]
    batch: int

    @classmethod
    def of(cls, lengths: Sequence[int], *, batch: int, count: int) -> "Buckets":
        """The buckets that pad the least.

            min over t_1 < … < t_count = max ℓ of  Σ_i (min {t_j : t_j ≥ ℓ_i} − ℓ_i)

        found by dynamic programming over the different lengths, in O(count · different²). A length
        of 0 is padded to 1, since nothing runs on no step at all.

        Args:
            lengths: of the examples, >= 0.
            batch: examples in one batch, > 0.
            count: how many buckets at most, > 0; so many programs will be compiled.

        Raises:
            ValueError: where there is no example, or a number is out of range.
        """
        given = np.asarray(lengths)
        if given.ndim != 1 or not given.size or given.min() < 0 or min(batch, count) < 1:
            raise bad_input(
                f"lengths of shape {given.shape}, {batch=}, {count=}.",
                "a length, at least 0, for every example, and at least 1 of batch and count.",
                "pass the number of steps of each example.",
            )
        padded = np.maximum(given, 1)
        times = _times(padded, count)
        bucket = np.searchsorted(times, padded)
        members = tuple(np.flatnonzero(bucket == i) for i in range(len(times)))
        return cls(times, members, batch)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return sum(self._counts)

    @property
    def _counts(self) -> list[int]:
        return [-(-len(own) // self.batch) for own in self.members]

    def __call__(self, key: PRNGKeyArray, position: int) -> Batch:
        """The batch at a position.

        Args:
            key: for the order.
            position: batches read before, >= 0.
        """
        if position < 0:
            raise bad_input(f"{position=}.", "at least 0.", "count the batches read before.")
        epoch, place = divmod(position, len(self))
        ends = np.cumsum(self._counts)
        batch = int(generator(key, epoch).permutation(len(self))[place])
        bucket = int(np.searchsorted(ends, batch, side="right"))
        batch -= int(ends[bucket]) - self._counts[bucket]
        own = self.members[bucket]
        order = generator(key, epoch, bucket).permutation(len(own))
        some = own[order[batch * self.batch : (batch + 1) * self.batch]]
        examples = np.full(self.batch, NONE)
        examples[: len(some)] = some
        return Batch(examples, self.times[bucket])


def padded(
    sequences: Sequence[np.ndarray] | Mapping[int, np.ndarray], batch: Batch
) -> tuple[np.ndarray, Int[np.ndarray, " batch"]]:
    """The sequences of a batch, side by side with zeros behind them, and their lengths.

    No example is a sequence of length 0. A sequence that is longer than the batch is cut off.

    Args:
        sequences: each example's, [length, ...].
        batch: of `Buckets`.

    Returns:
        [time, batch, ...], and the valid steps of each.

    Example:
        >>> import numpy as np
        >>> from seqmem.data import Batch, padded
        >>> padded([np.array([3, 1]), np.array([2])], Batch(np.array([1, 0, -1]), 3))[0].tolist()
        [[2, 3, 0], [0, 1, 0], [0, 0, 0]]
    """
    first = sequences[int(batch.examples[0])]
    xs = np.zeros((batch.time, len(batch.examples), *first.shape[1:]), first.dtype)
    lengths = np.zeros(len(batch.examples), np.int32)
    for i, example in enumerate(batch.examples):
        if example != NONE:
            own = sequences[int(example)][: batch.time]
            xs[: len(own), i], lengths[i] = own, len(own)
    return xs, lengths


def _times(lengths: Int[np.ndarray, " example"], count: int) -> tuple[int, ...]:
    """The ends of the buckets: best[j], over the first j different lengths, bucket by bucket."""
    different, many = np.unique(lengths, return_counts=True)
    examples = np.concatenate([[0], np.cumsum(many)])
    steps = np.concatenate([[0], np.cumsum(many * different)])
    # cost[i, j]: what is padded where one bucket holds the different lengths from i to j − 1
    ends = np.concatenate([[0], different])
    cost = (examples - examples[:, None]) * ends - (steps - steps[:, None])
    cost = np.where(np.tri(len(ends), k=-1, dtype=bool), np.inf, cost)
    best, begins = cost[0], []
    for _ in range(min(count, len(different)) - 1):
        total = best[:, None] + cost
        begins.append(total.argmin(0))
        best = total.min(0)
    times, end = [], len(different)
    for begin in reversed([np.zeros(len(ends), int), *begins]):
        if end:
            times.append(int(different[end - 1]))
        end = int(begin[end])
    return tuple(reversed(times))
