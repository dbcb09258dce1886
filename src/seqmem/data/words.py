"""Words as numbers."""

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
    """The words that a model knows; the id of a word is its place among them. Four stand first that
    nobody says: padding, the beginning and the end of a sentence, and any word that is not known.

    Args:
        words: each once, beginning with <pad> <s> </s> <unk>.

    Raises:
        ValueError: where they begin otherwise, or one comes twice.

    Example:
        >>> from seqmem.data import WordVocabulary
        >>> vocabulary = WordVocabulary.of([["a", "dog"], ["a", "cat", "and", "a", "dog"]], least=2)
        >>> vocabulary.words[4:], vocabulary.encode(["a", "red", "dog"]).tolist()
        (('a', 'dog'), [4, 3, 5])
        >>> vocabulary.decode([1, 4, 5, 2, 0])
        ('a', 'dog')
    """

    MARKS: ClassVar[tuple[str, ...]] = ("<pad>", "<s>", "</s>", "<unk>")
    PAD: ClassVar[int] = 0
    BEGIN: ClassVar[int] = 1
    END: ClassVar[int] = 2
    UNKNOWN: ClassVar[int] = 3

    words: tuple[str, ...]

    def __post_init__(self):
        if self.words[:4] != self.MARKS or len(set(self.words)) != len(self.words):
            raise bad_input(
                f"{len(self.words)} words, {len(set(self.words))} of them different, beginning "
                f"with {' '.join(self.words[:4])}.",
                f"different words, beginning with {' '.join(self.MARKS)}.",
                "make it from sentences: WordVocabulary.of(sentences, least=2).",
            )

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], *, least: int) -> "WordVocabulary":
        """The words that come at least so often, the most frequent first, then by the alphabet."""
        counts = collections.Counter(word for sentence in sentences for word in sentence)
        known = [(-n, word) for word, n in counts.items() if n >= least and word not in cls.MARKS]
        return cls((*cls.MARKS, *(word for _, word in sorted(known))))

    def __len__(self) -> int:
        return len(self.words)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def encode(self, sentence: Sequence[str]) -> Int[np.ndarray, " length"]:
        """The ids of a sentence's words; a word that is not known has the id of <unk>."""
        ids = self._ids
        return np.array([ids.get(word, self.UNKNOWN) for word in sentence], np.int32)

    def decode(self, ids: Int[np.ndarray, " length"]) -> tuple[str, ...]:
        """The words of some ids, up to the end of the sentence; <pad> and <s> are left out."""
        kept = []
        for i in np.asarray(ids).tolist():
            if i == self.END:
                break
            if i not in (self.PAD, self.BEGIN):
                kept.append(self.words[i])
        return tuple(kept)
