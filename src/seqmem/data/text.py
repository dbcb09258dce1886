"""Text as numbers: characters to ids, and ids to windows for training with a carried state."""

import dataclasses
import importlib
import os
import pathlib

import numpy as np
from jaxtyping import Int

from .._core.errors import bad_input


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The characters that a model knows; the id of a character is its place among them.

    Args:
        characters: each character once.

    Example:
        >>> from seqmem.data import Vocabulary
        >>> vocabulary = Vocabulary.of("hello")
        >>> vocabulary.characters, vocabulary.encode("hole").tolist(), vocabulary.decode([2, 0])
        ('ehlo', [1, 3, 2, 0], 'le')
    """

    characters: str

    @classmethod
    def of(cls, text: str) -> "Vocabulary":
        """The characters of a text, in the order of Unicode."""
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
                f"the text holds {len(unknown)} unknown characters: {''.join(unknown[:20])!r}.",
                f"only the {len(self)} characters of the vocabulary.",
                "make the vocabulary from all of the text, Vocabulary.of(text), or take them out.",
            )
        ids = {character: i for i, character in enumerate(self.characters)}
        return np.array([ids[character] for character in text], np.int32)

    def decode(self, ids: Int[np.ndarray, " length"]) -> str:
        """The text of some ids."""
        return "".join(self.characters[i] for i in np.asarray(ids))


def read_text(path: str | os.PathLike | None = None) -> str:
    """A text to learn from: the file at `path`, in UTF-8, or CPython's language reference.

    The reference is what `help("for")` prints, and the like of it. It comes with Python: 465,000
    characters in 3.11, 511,000 in 3.13, some 104 of them different. For numbers to compare across
    versions of Python, give a file.
    """
    if path is not None:
        return pathlib.Path(path).read_text(encoding="utf-8")
    return "".join(importlib.import_module("pydoc_data.topics").topics.values())


def windows(
    ids: Int[np.ndarray, " length"], *, time: int, batch: int
) -> tuple[Int[np.ndarray, "window time batch"], Int[np.ndarray, "window time batch"]]:
    """Cut a text into `batch` streams, and these into windows of `time` steps.

    Window k + 1 of a stream continues window k, so a state carried from window to window has read
    all of the stream before it; a gradient goes back to the beginning of its window. What does not
    fill a window is left out.

    Args:
        ids: the text.
        time: steps of one window, >= 1.
        batch: streams, >= 1; stream b begins at about b/batch of the text.

    Returns:
        Inputs, and targets, which are the characters that follow them.

    Raises:
        ValueError: where the text is too short for one window.
    """
    count = (len(ids) - 1) // (time * batch) if time > 0 and batch > 0 else 0
    if count < 1:
        raise bad_input(
            f"{len(ids)} characters for windows of time={time}, batch={batch}.",
            "time >= 1, batch >= 1, and more than time · batch characters.",
            "take a longer text, or fewer or shorter streams.",
        )

    def cut(ids: Int[np.ndarray, " steps"]) -> Int[np.ndarray, "window time batch"]:
        return ids.reshape(batch, count, time).transpose(1, 2, 0)

    end = batch * count * time
    return cut(ids[:end]), cut(ids[1 : end + 1])
