"""The parameters of a model in one file."""

import io
import json
import os
import pathlib
from typing import BinaryIO, TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from .._core.errors import bad_input
from .._core.json_text import parse_json
from ..training._placement import raw_array
from ._arrays import array_like, named_arrays, replace_arrays
from ._checksums import is_spread
from ._disk import disk_error
from ._manifest import check_checksums, check_manifest, damaged_file, manifest_of
from ._npy import read_npy

Model = TypeVar("Model", bound=PyTree)


def save_parameters(path: str | os.PathLike, model: PyTree) -> None:
    """Write the arrays of a model to a file, atomically.

    The first line is JSON: the path, shape, dtype and checksum of each array. The arrays follow, in
    the format of `equinox.tree_serialise_leaves`. The file holds no pickled object.

    Args:
        path: the file; replaced if it exists.
        model: a tree of arrays. Functions and the like are omitted.

    Raises:
        ValueError: where a number of the model is no JAX array, or where an array is spread over
            several processes.
        OSError: where writing failed. The file is then as it was.

    Example:
        >>> import jax, pathlib, tempfile, seqmem
        >>> from seqmem import experiment
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "gru"
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> experiment.save_parameters(path, cell)
        >>> other = experiment.load_parameters(path, seqmem.GRU(3, 5, key=jax.random.key(1)))
        >>> jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), cell, other))
        True
    """
    path, arrays = pathlib.Path(path), named_arrays(model)
    if spread := [name for name, array in arrays.items() if is_spread(raw_array(array))]:
        raise bad_input(
            f"{spread[0]}, which is spread over several processes.",
            "arrays that this process has in full.",
            "gather them by jax.experimental.multihost_utils.process_allgather(model, tiled=True), "
            "or use Checkpoints.",
        )
    content = io.BytesIO(json.dumps(manifest_of(arrays)).encode() + b"\n")
    content.seek(0, io.SEEK_END)
    eqx.tree_serialise_leaves(content, [raw_array(array) for array in arrays.values()])
    temporary = path.with_name(path.name + ".unfinished")
    try:
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        problem, remedy = f"the file {path} could not be written", "and save again"
        raise disk_error(problem, error, path.parent, remedy) from error
    finally:
        temporary.unlink(missing_ok=True)


def load_parameters(path: str | os.PathLike, like: Model) -> Model:
    """A model with the arrays that `save_parameters` wrote, on the devices of `like`'s.

    Args:
        path: the file.
        like: a model with the saved shapes and dtypes; its values are not read.

    Raises:
        ValueError: where the file is of another model or damaged; the message names the arrays.
    """
    arrays, source = named_arrays(like), f"the file {os.fspath(path)}"
    with pathlib.Path(path).open("rb") as file:
        try:
            manifest = parse_json(file.readline(), "the first line")
        except ValueError as error:
            raise damaged_file(source, "its first line is no JSON object") from error
        check_manifest(manifest, arrays, source)
        try:
            values = {name: _read(file, arrays[name]) for name in manifest}
            if file.read(1):
                raise ValueError("more bytes follow its last array")
        except ValueError as error:
            raise damaged_file(source, error) from error
    check_checksums(manifest, values, source)
    return replace_arrays(
        like, {name: array_like(values[name], array) for name, array in arrays.items()}
    )


def _read(file: BinaryIO, like: Array) -> np.ndarray:
    """The next array of a file, random keys as numbers."""
    kind, rest = jax.eval_shape(raw_array, like), os.fstat(file.fileno()).st_size - file.tell()
    return read_npy(file, kind.shape, np.dtype(kind.dtype), rest)
