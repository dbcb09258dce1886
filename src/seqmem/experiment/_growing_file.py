"""A file of lines that grows, with a checksum of them."""

import os
import pathlib
import zlib
from typing import NamedTuple

from .._core.errors import bad_input
from ._disk import disk_error


class Lines(NamedTuple):
    """The first lines of a file: the first one, the size of all in bytes, and their checksum."""

    first: bytes = b""
    size: int = 0
    checksum: int = 0


def read_lines(path: pathlib.Path, num_lines: int, checksum: int | None) -> Lines:
    """The first lines of a file.

    Args:
        path: the file.
        num_lines: how many.
        checksum: that of these lines when they were written; None verifies nothing.

    Raises:
        ValueError: where there are fewer complete lines, or others than were written.
    """
    lines, complete = Lines(), 0
    if num_lines and path.exists():
        with path.open("rb") as file:
            for line in file:
                if complete == num_lines or not line.endswith(b"\n"):
                    break
                complete += 1
                first, size = lines.first or line, lines.size + len(line)
                lines = Lines(first, size, zlib.crc32(line, lines.checksum))
    if complete < num_lines:
        raise bad_input(
            f"{path} holds {complete} complete lines.",
            f"the {num_lines} lines that were written before the checkpoint.",
            "choose the folder of that run, or a new folder and new checkpoints.",
        )
    if checksum is not None and lines.checksum != checksum:
        raise bad_input(
            f"{path} is damaged: wrong checksum of its first {num_lines} lines.",
            "the bytes that were written before the checkpoint.",
            "restore the file from a copy, or pass folder=None and resume without the tables.",
        )
    return lines


class GrowingFile:
    """A file of lines that grows.

    Args:
        path: the file.
        lines: its first lines; others are deleted.

    Raises:
        OSError: where the file cannot be made.
    """

    def __init__(self, path: pathlib.Path, lines: Lines):
        self._path, self.checksum = path, lines.checksum
        try:
            if path.exists() and path.stat().st_size > lines.size:
                os.truncate(path, lines.size)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise self._error(error) from error

    def write(self, text: str) -> None:
        """Add lines.

        Raises:
            OSError: where writing failed. The file may then end with an incomplete line.
        """
        content = text.encode()
        try:
            written = self._file.write(content)
            while written < len(content):
                written += self._file.write(content[written:])
        except OSError as error:
            raise self._error(error) from error
        self.checksum = zlib.crc32(content, self.checksum)

    def sync(self) -> None:
        """Wait until all lines are on the disk.

        Raises:
            OSError: where writing failed.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _error(self, error: OSError) -> OSError:
        remedy = "and start again; a run resumes from its last checkpoint"
        problem = f"a row of {self._path} could not be written"
        return disk_error(problem, error, self._path.parent, remedy)
