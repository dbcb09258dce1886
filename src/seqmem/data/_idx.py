"""IDX files, the array format of MNIST and of data sets like it."""

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
    """The array of an IDX file, gzip-compressed or not.

        0  0  type  axes | size of each axis, 4 bytes | the entries, row by row

    Types: 8 uint8, 9 int8, 11 int16, 12 int32, 13 float32, 14 float64; big-endian in the file, in
    the machine's byte order in the array.

    Source: the page of the MNIST database (LeCun, Cortes, Burges), "file formats".

    Args:
        path: the file.

    Raises:
        ValueError: where it is not an IDX file, or is shorter or longer than its header says.

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
            f"{path} starts with {content[:4].hex(' ') or 'nothing'}.",
            "00 00, a type of 08 to 0e, the number of axes, and their sizes.",
            "pass an IDX file, such as those of MNIST.",
        )
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    dtype = np.dtype(TYPES[kind])
    expected, size = math.prod(shape) * dtype.itemsize, len(content) - 4 - 4 * axes
    if size != expected:
        raise bad_input(
            f"{path} has {size} bytes after its header.",
            f"{expected}, for {shape} of {dtype.name}.",
            "download the file again: it is truncated, or is another file.",
        )
    array = np.frombuffer(content, dtype, offset=4 + 4 * axes).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def _content(path: pathlib.Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError as error:
        raise bad_input(f"{path} does not exist.", "an IDX file.", "check the path.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise bad_input(
            f"{path} cannot be decompressed: {error}.",
            "a complete gzip file.",
            "download the file again: it is truncated or damaged.",
        ) from error
