"""A character tokenizer."""

import dataclasses

import numpy as np
from jaxtyping import Int

from .._core.errors import bad_input


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A character tokenizer: the id of a character is its index in `characters`.

    Args:
        characters: each character once.

    Example:
        >>> from seqmem.data import Vocabulary
        >>> vocabulary = Vocabulary.from_text("hello")
        >>> vocabulary.characters, vocabulary.encode("hole").tolist(), vocabulary.decode([2, 0])
        ('ehlo', [1, 3, 2, 0], 'le')
    """

    characters: str

    @classmethod
    def from_text(cls, text: str) -> "Vocabulary":
        """The vocabulary of all characters of a text, in Unicode order."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Int[np.ndarray, " length"]:
        """The ids of a text.

        Raises:
            ValueError: where a character is not in the vocabulary.
        """
        unknown = sorted(set(text) - set(self.characters))
        if unknown:
            raise bad_input(
                f"the text has {len(unknown)} unknown characters: {''.join(unknown[:20])!r}.",
                f"only the {len(self)} characters of the vocabulary.",
                "make the vocabulary from the complete text, Vocabulary.from_text(text), or remove "
                "these characters.",
            )
        ids = {character: i for i, character in enumerate(self.characters)}
        return np.array([ids[character] for character in text], np.int32)

    def decode(self, ids: Int[np.ndarray, " length"]) -> str:
        """The text of a sequence of ids."""
        return "".join(self.characters[i] for i in np.asarray(ids))
