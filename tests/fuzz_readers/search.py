"""Cases of one reader, one after another, until a time is over or one is a finding."""

import itertools
import pathlib
import time
from typing import NamedTuple

from .execute import FindingError, end_with_hanging_c_code, execute
from .reader import Reader, draw

COUNTS = "counts"


class Counts(NamedTuple):
    """What a search has done.

    Attributes:
        index: of the last case.
        refused: cases that were refused.
        accepted: cases that were read.
    """

    index: int
    refused: int
    accepted: int

    def write(self, folder: pathlib.Path) -> None:
        """Write the counts to a file, which is there when the process ends at once."""
        (folder / "new").write_text(" ".join(map(str, self)), encoding="ascii")
        (folder / "new").replace(folder / COUNTS)

    @classmethod
    def read(cls, folder: pathlib.Path) -> "Counts":
        return cls(*map(int, (folder / COUNTS).read_text(encoding="ascii").split()))


def search(
    name: str,
    reader: Reader,
    folder: pathlib.Path,
    seed: int,
    *,
    seconds: float = float("inf"),
    cases: int | None = None,
    start: int = 0,
    is_ended: bool = False,
) -> tuple[Counts, str | None]:
    """Read cases. Returns the counts, and what a reader did that it must not do.

    Args:
        name: of the reader; another name has other cases.
        reader: that is tried.
        folder: where the counts and the files of the last case are left.
        seed: of all cases.
        seconds: after which no further case is read.
        cases: how many; None is no limit.
        start: index of the first one.
        is_ended: whether the system ends a process that no longer returns to Python.
    """
    seeds, counts, end = reader.seeds(), Counts(start, 0, 0), time.monotonic() + seconds
    for index in itertools.count(start) if cases is None else range(start, start + cases):
        if time.monotonic() > end:
            break
        if is_ended:
            end_with_hanging_c_code()
        counts = counts._replace(index=index)
        counts.write(folder)
        files = draw(reader, name, seed, index, seeds)
        try:
            is_accepted = execute(reader.read, folder / "case", files, reader.names)
        except FindingError as finding:
            return counts, str(finding)
        counts = Counts(index, counts.refused + (not is_accepted), counts.accepted + is_accepted)
        counts.write(folder)
    return counts, None
