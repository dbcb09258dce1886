"""Contents of compressed files, in memory in proportion to the files."""

import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

from .errors import bad_input

MAX_RATIO, MIN_LIMIT = 100, 2**20  # data that anybody trains on compresses less
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zlib decompresses as much as it is asked to
ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError)
ERRORS += (RuntimeError, OverflowError)  # of encrypted members, newer versions, wrong offsets


def max_content(size: int) -> int:
    """The bytes that a compressed file of this size may hold."""
    return max(MIN_LIMIT, MAX_RATIO * size)


def read_members(
    path: pathlib.Path, is_wanted: Callable[[str], bool], source: str
) -> Iterator[tuple[str, bytes]]:
    """The names and the contents of the wanted members of a zip file, which are written nowhere.

    Args:
        path: the zip file.
        is_wanted: whether a member of this name is read.
        source: the zip file, in messages.

    Raises:
        ValueError: for another file, or members that are damaged, encrypted, compressed in another
            way than by deflate, or larger than `max_content`.
    """
    rest = max_content(path.stat().st_size)
    reason: object = "its members are too large, or compressed in another way than by deflate"
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not is_wanted(member.filename):
                    continue
                if member.compress_type not in METHODS or member.file_size > rest:
                    break
                with archive.open(member) as file:
                    content = file.read(member.file_size)
                rest -= len(content)
                yield member.filename, content
            else:
                return
    except ERRORS as error:
        reason = error
    raise bad_input(
        f"{source} is no zip file that can be read: {reason}.",
        f"stored or deflated members of at most {MAX_RATIO} times the size of the file.",
        "get the file again; it is damaged, or another one.",
    )
