"""Text files, and their segments for truncated backpropagation through time."""

import importlib
import os
import pathlib

import numpy as np
from jaxtyping import Int

from .._core.errors import bad_input
from .._core.validation import check_sizes


def read_text(path: str | os.PathLike | None = None) -> str:
    """The text of a UTF-8 file; without a path, CPython's language reference.

    The reference is the text of Python's `help("for")` and of the other topics. It comes with
    Python: 465,000 characters in 3.11, 511,000 in 3.13, about 104 of them different. For numbers
    that compare across versions of Python, pass a file.

    Args:
        path: the file.

    Raises:
        ValueError: where the file is not UTF-8.
    """
    if path is not None:
        try:
            return pathlib.Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise bad_input(
                f"{path} is not UTF-8: {error}.",
                "text in UTF-8.",
                "check the path, or convert the file, for example with iconv.",
            ) from error
    return "".join(importlib.import_module("pydoc_data.topics").topics.values())


def segment_text(
    ids: Int[np.ndarray, " length"], *, time: int, batch: int
) -> tuple[Int[np.ndarray, "segment time batch"], Int[np.ndarray, "segment time batch"]]:
    """Cut a text into `batch` parallel streams, and each stream into segments of `time` steps.

    Segment k + 1 of a stream continues segment k, so a state that is carried over has read the
    stream from its start, while a gradient stays within its segment. The rest of the text that does
    not fill a segment is left out.

    Args:
        ids: the text as ids.
        time: steps of one segment, >= 1.
        batch: streams, >= 1; stream b starts at about b/batch of the text.

    Returns:
        The inputs, and the targets: the id after each input.

    Raises:
        ValueError: where the text is too short for one segment.

    Example:
        >>> import numpy as np
        >>> from seqmem.data import segment_text
        >>> inputs, targets = segment_text(np.arange(13), time=3, batch=2)
        >>> inputs[:, :, 0].tolist(), targets[:, :, 0].tolist()              # the first stream
        ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    check_sizes("segment_text", time=time, batch=batch)
    count = (len(ids) - 1) // (time * batch)
    if count < 1:
        raise bad_input(
            f"segment_text got {len(ids)} ids for time={time} and batch={batch}.",
            "more than time · batch ids.",
            "pass a longer text, or use fewer or shorter streams.",
        )
    end = batch * count * time

    def cut(ids: Int[np.ndarray, " steps"]) -> Int[np.ndarray, "segment time batch"]:
        return ids.reshape(batch, count, time).transpose(1, 2, 0)

    return cut(ids[:end]), cut(ids[1 : end + 1])
