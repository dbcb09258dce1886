"""IDX files, the array format of MNIST and of data sets like it."""

import gzip
import io
import math
import os
import pathlib
import struct
import zlib

import numpy as np

from .._core.archives import max_content
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
        ValueError: where it is not an IDX file, is shorter or longer than its header says, or is
            compressed to less than a hundredth.

    Example:
        >>> import pathlib, tempfile
        >>> from seqmem.data import read_idx
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels"
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read_idx(path)
        array([7, 2, 1], dtype=uint8)
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            size, is_compressed = path.stat().st_size, file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if is_compressed:
                return _read(gzip.GzipFile(fileobj=file), path, max_content(size))
            return _read(file, path, size)
    except FileNotFoundError as error:
        raise bad_input(f"{path} does not exist.", "an IDX file.", "check the path.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise bad_input(
            f"{path} cannot be decompressed: {error}.",
            "a complete gzip file.",
            "download the file again: it is truncated or damaged.",
        ) from error


def _read(file: io.BufferedIOBase, path: pathlib.Path, max_size: int) -> np.ndarray:
    """The array of a file, of which no more than `max_size` bytes are read."""
    head = file.read(4)
    kind, axes = head[2:4] if len(head) == 4 else (0, 0)
    sizes = file.read(4 * axes)
    if head[:2] != b"\0\0" or kind not in TYPES or len(sizes) < 4 * axes:
        raise bad_input(
            f"{path} starts with {head.hex(' ') or 'nothing'}.",
            "00 00, a type of 08 to 0e, the number of axes, and their sizes.",
            "pass an IDX file, such as those of MNIST.",
        )
    shape, dtype = struct.unpack(f">{axes}I", sizes), np.dtype(TYPES[kind])
    expected = math.prod(shape) * dtype.itemsize
    most = min(expected, max_size)
    content = file.read(most + 1)
    if len(content) != expected:
        more = " or more" if len(content) > most else ""
        raise bad_input(
            f"{path} has {len(content)} bytes{more} after its header.",
            f"{expected}, for {shape} of {dtype.name}; of a gzip file, at most {max_size}.",
            "download the file again: it is truncated, or is another file.",
        )
    try:
        array = np.frombuffer(content, dtype).reshape(shape)
    except ValueError as error:  # for too many axes, or empty ones next to huge ones
        raise bad_input(
            f"{path} has the shape {shape}: {error}.", "an array of NumPy.", "pass another file."
        ) from error
    return array.astype(dtype.newbyteorder("="))
