"""JSON of files that anybody may have written."""

import collections
import json
from pathlib import Path
from typing import Any

from .errors import bad_input

MAX_DEPTH = 100  # of values in values, through which functions recurse


def read_json(path: Path, max_size: int) -> dict[str, Any]:
    """The object in a file.

    Args:
        path: of the file.
        max_size: bytes; a larger file is refused before it is read.

    Raises:
        ValueError: for a larger file, or one that holds anything else.
    """
    size = path.stat().st_size
    if size > max_size:
        raise bad_input(
            f"{path} has {size} bytes.",
            f"at most {max_size}.",
            "look at what the file holds; no model has so long a description.",
        )
    return parse_json(path.read_bytes(), str(path))


def parse_json(text: bytes, source: str) -> dict[str, Any]:
    """The object that a text holds.

    Args:
        text: in UTF-8.
        source: what the text is, for messages.

    Raises:
        ValueError: for anything else, for an object with two entries of one name, and for more than
            100 values within each other.
    """

    twice: list[str] = []

    def entries(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            counts = collections.Counter(name for name, _ in pairs)
            twice.extend(name for name, count in counts.items() if count > 1)
        return dict(pairs)

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=entries)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5000 digits
        raise bad_input(
            f"{source} is not JSON: {error}.",
            "a JSON object in UTF-8.",
            "copy the file again from where it comes.",
        ) from error
    if _is_deep(value):
        raise bad_input(
            f"{source} holds values in values, more than {MAX_DEPTH} deep.",
            "the JSON of a description.",
            "look at what the file holds; no model has so deep a description.",
        )
    if twice:
        raise bad_input(
            f"{source} names {twice[:5]} twice.", "every name once.", "write the file again."
        )
    if not isinstance(value, dict):
        raise bad_input(
            f"{source} holds a {type(value).__name__}.",
            "a JSON object.",
            "copy the file again from where it comes.",
        )
    return value


def _is_deep(value: Any) -> bool:
    """Whether there are more values within each other than any function here recurses through."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            entry
            for outer in level
            if isinstance(outer, dict | list)
            for entry in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)
