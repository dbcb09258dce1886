"""Arrays in IDX files, the format of MNIST and of what is shaped like it."""

import gzip
import math
import os
import pathlib
import struct
import zlib

import numpy as np

from .._core.errors import bad_input

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """The array in an IDX file, compressed by gzip or not.

        0  0  type  axes | size of each axis, 4 bytes | the entries, row by row

    Types: 8 uint8, 9 int8, 11 int16, 12 int32, 13 float32, 14 float64; all with the highest byte
    first in the file. The array has the machine's order.

    Source: the page of the MNIST database (LeCun, Cortes, Burges), "file formats".

    Args:
        path: of the file.

    Raises:
        ValueError: where the file is none, or is shorter or longer than it says.

    Example:
        >>> import pathlib, tempfile
        >>> from seqmem.data import read_idx
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels"
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read_idx(path)
        array([7, 2, 1], dtype=uint8)
    """
    content = _content(pathlib.Path(path))
    kind, axes = content[2:4] if len(content) >= 4 else (0, 0)
    if content[:2] != b"\0\0" or kind not in TYPES or len(content) < 4 + 4 * axes:
        raise bad_input(
            f"{path} begins with {content[:4].hex(' ') or 'nothing'}.",
            "00 00, a type of 08 to 0e, the number of axes, and their sizes.",
            "give a file in IDX format, as MNIST's are.",
        )
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    dtype = np.dtype(TYPES[kind])
    size, own = math.prod(shape) * dtype.itemsize, len(content) - 4 - 4 * axes
    if own != size:
        raise bad_input(
            f"{path} holds {own} bytes after its head.",
            f"{size}, for {shape} of {dtype.name}.",
            "fetch the file again: it is cut off, or is something else.",
        )
    array = np.frombuffer(content, dtype, offset=4 + 4 * axes).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def _content(path: pathlib.Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError as error:
        raise bad_input(
            f"{path} is no file.", "a file in IDX format.", "check the path."
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise bad_input(
            f"{path} cannot be decompressed: {error}.",
            "a whole gzip file.",
            "fetch the file again: it is cut off or damaged.",
        ) from error
