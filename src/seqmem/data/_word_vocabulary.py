"""A word tokenizer."""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from .._core.errors import bad_input


@dataclasses.dataclass(frozen=True)
class WordVocabulary:
    """A word tokenizer: the id of a word is its index in `words`.

    The first four are special tokens: padding, begin of sentence, end of sentence, unknown word.

    Args:
        words: each word once, starting with `<pad> <s> </s> <unk>`.

    Raises:
        ValueError: where they start otherwise, or a word occurs twice.

    Example:
        >>> from seqmem.data import WordVocabulary
        >>> sentences = [["a", "dog"], ["a", "cat", "and", "a", "dog"]]
        >>> vocabulary = WordVocabulary.from_sentences(sentences, min_count=2)
        >>> vocabulary.words[4:], vocabulary.encode(["a", "red", "dog"]).tolist()
        (('a', 'dog'), [4, 3, 5])
        >>> vocabulary.decode([1, 4, 5, 2, 0])
        ('a', 'dog')
    """

    SPECIAL: ClassVar[tuple[str, ...]] = ("<pad>", "<s>", "</s>", "<unk>")
    PAD: ClassVar[int] = 0
    BEGIN: ClassVar[int] = 1
    END: ClassVar[int] = 2
    UNKNOWN: ClassVar[int] = 3

    words: tuple[str, ...]

    def __post_init__(self):
        if self.words[:4] != self.SPECIAL or len(set(self.words)) != len(self.words):
            raise bad_input(
                f"WordVocabulary got {len(self.words)} words, {len(set(self.words))} of them "
                f"different, starting with {' '.join(self.words[:4])}.",
                f"different words, starting with {' '.join(self.SPECIAL)}.",
                "use WordVocabulary.from_sentences(sentences, min_count=2).",
            )

    @classmethod
    def from_sentences(
        cls, sentences: Iterable[Sequence[str]], *, min_count: int
    ) -> "WordVocabulary":
        """The words that occur at least `min_count` times, by falling frequency, then by name."""
        counts = collections.Counter(word for sentence in sentences for word in sentence)
        frequent = [
            (-count, word)
            for word, count in counts.items()
            if count >= min_count and word not in cls.SPECIAL
        ]
        return cls((*cls.SPECIAL, *(word for _, word in sorted(frequent))))

    def __len__(self) -> int:
        return len(self.words)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def encode(self, sentence: Sequence[str]) -> Int[np.ndarray, " length"]:
        """The ids of the words of a sentence; unknown words have the id of `<unk>`."""
        ids = self._ids
        return np.array([ids.get(word, self.UNKNOWN) for word in sentence], np.int32)

    def decode(self, ids: Int[np.ndarray, " length"]) -> tuple[str, ...]:
        """The words of a sequence of ids up to `</s>`, without `<pad>` and `<s>`."""
        words = []
        for i in np.asarray(ids).tolist():
            if i == self.END:
                break
            if i not in (self.PAD, self.BEGIN):
                words.append(self.words[i])
        return tuple(words)
