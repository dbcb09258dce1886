"""`Reader`: a function that reads files, and valid files that cases are made of."""

import pathlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .execute import Files
from .mutate import change

Parts = Mapping[str, bytes]


def as_they_are(rng: random.Random, parts: Parts) -> Files:
    """The files are the parts."""
    return parts


class Reader(NamedTuple):
    """A reader of files.

    Attributes:
        read: reads the files in a folder.
        seeds: () -> valid cases in parts, such as the members of an archive.
        pack: the files of the parts, with the checksums of what the parts hold.
        names: what a message may name in place of a file; "" for a reader that is given none.
        package: that it needs.
        library: written in C, which may end the process or never return: that is counted, and is no
            finding.
        quick_cases: of the quick suite.
    """

    read: Callable[[pathlib.Path], Any]
    seeds: Callable[[], Sequence[Parts]]
    pack: Callable[[random.Random, Parts], Files] = as_they_are
    names: tuple[str, ...] = ()
    package: str = "seqmem"
    library: str = ""
    quick_cases: int = 40


def draw(reader: Reader, name: str, seed: int, index: int, seeds: Sequence[Parts]) -> Files:
    """The case of an index: parts that are changed before or after they are packed."""
    rng = random.Random(f"{name} {seed} {index}")
    parts = rng.choice(seeds)
    kind = rng.random()
    if kind < 0.6:
        parts = _changed(rng, parts)
    files = reader.pack(rng, parts)
    return _changed(rng, files) if kind > 0.5 else files


def _changed(rng: random.Random, files: Parts) -> Parts:
    """The files after a change of one of them."""
    name = rng.choice(sorted(files))
    return {**files, name: change(rng, files[name], list(files.values()))}
