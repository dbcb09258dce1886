"""Arrays in NumPy's format .npy, of shapes and dtypes that are known before."""

from typing import BinaryIO

import numpy as np


def read_npy(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype, max_size: int) -> np.ndarray:
    """The next array of a file. Memory is taken for this shape alone, whatever the file names.

    Args:
        file: which stands before the array.
        shape: of the array.
        dtype: of the array.
        max_size: bytes that are left in the file.

    Raises:
        ValueError: for another array, or where the file ends before it does.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"version {version} of .npy")
        stored_shape, is_fortran, stored = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # NumPy parses the header as Python, and raises many types
        raise ValueError(f"no header of an array: {error}") from error
    # NumPy has no name for bfloat16, whose bits are stored as they are.
    is_same = stored.newbyteorder("=") == dtype or stored.kind == dtype.kind == "V"
    size = dtype.itemsize * int(np.prod(shape, dtype=object))
    if stored_shape != shape or stored.itemsize != dtype.itemsize or not is_same:
        raise ValueError(f"an array {stored}{list(stored_shape)} for {dtype}{list(shape)}")
    if size > max_size or len(content := file.read(size)) < size:
        raise ValueError(f"it ends within the array {dtype}{list(shape)}")
    array = np.frombuffer(content, stored)
    array = array.view(dtype) if stored.kind == "V" else array.astype(dtype, copy=False)
    return array.reshape(shape[::-1]).T if is_fortran else array.reshape(shape)
