"""Texts as bytes, for training and test: tinyshakespeare, and Python's standard library."""

import hashlib
import pathlib
import platform
import sysconfig
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from seqmem import data

LIBRARY_BYTES = 10_000_000
LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "__pycache__", "lib2to3"}


class Text(NamedTuple):
    """Nine tenths for training, the last tenth for the test."""

    source: str
    sha256: str
    training: UInt8[np.ndarray, " length"]
    test: UInt8[np.ndarray, " length"]


def shakespeare() -> Text:
    return _split("tinyshakespeare", data.tiny_shakespeare().encode())


def library() -> Text:
    """10 MB of the sources and the documentation of Python's standard library.

    Files are taken in the order of the SHA-256 of their names, so that training and test have the
    same kinds of files.
    """
    parts, size = [], 0
    for path in _library_files():
        part = path.read_bytes()
        parts.append(part)
        size += len(part)
        if size >= LIBRARY_BYTES:
            break
    source = f"the standard library of Python {platform.python_version()}"
    return _split(source, b"".join(parts)[:LIBRARY_BYTES])


def _library_files() -> Iterator[pathlib.Path]:
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    names = [path.relative_to(root) for path in root.rglob("*.py")]
    names = [name for name in names if not LEFT_OUT & set(name.parts)]
    names.sort(key=lambda name: hashlib.sha256(name.as_posix().encode()).digest())
    return (root / name for name in names)


def _split(source: str, text: bytes) -> Text:
    ids, cut = np.frombuffer(text, np.uint8), len(text) * 9 // 10
    return Text(source, hashlib.sha256(text).hexdigest(), ids[:cut], ids[cut:])


TEXTS = {"shakespeare": shakespeare, "library": library}
