"""The data of `translate`: sentence pairs as ids, and their batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from seqmem import data

PAD, BEGIN, END = data.WordVocabulary.PAD, data.WordVocabulary.BEGIN, data.WordVocabulary.END
MIN_COUNT = 2  # occurrences in the training set of a word of the vocabulary
BUCKETS = 5  # padded lengths, and so compiled programs


class Pairs(NamedTuple):
    """Sentences as ids, in two languages. The target sentences have their END."""

    source: list[np.ndarray]
    target: list[np.ndarray]

    @property
    def times(self) -> list[int]:
        return [max(map(len, pair)) for pair in zip(*self, strict=True)]


class Languages(NamedTuple):
    """Vocabularies of the source and of the target."""

    source: data.WordVocabulary
    target: data.WordVocabulary

    @classmethod
    def from_sentences(cls, source: Sequence, target: Sequence) -> "Languages":
        return cls(
            *(
                data.WordVocabulary.from_sentences(side, min_count=MIN_COUNT)
                for side in (source, target)
            )
        )

    def encode(self, source: Sequence, target: Sequence) -> Pairs:
        return Pairs(
            list(map(self.source.encode, source)),
            [np.append(self.target.encode(words), END).astype(np.int32) for words in target],
        )


def batch_at(pairs: Pairs, buckets: data.Buckets) -> Callable[[jax.Array, int], tuple]:
    """[time, batch] of both languages, by key and position."""

    def batch(key: jax.Array, position: int) -> tuple[np.ndarray, np.ndarray]:
        examples = buckets(key, position)
        source, target = (data.pad_batch(side, examples)[0] for side in pairs)
        return source, target

    return batch


def evaluation_batches(lengths: list[int], batch: int) -> Iterator[data.Batch]:
    """Every example once, in batches of about one length."""
    buckets = data.Buckets.from_lengths(lengths, batch_size=batch, num_buckets=BUCKETS)
    for position in range(len(buckets)):
        yield buckets(jax.random.key(0), position)
