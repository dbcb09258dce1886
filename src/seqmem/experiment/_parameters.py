"""Parameters alone, in one file."""

import io
import json
import os
import pathlib
from typing import TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from ._leaves import (
    arrays_of,
    damaged,
    describe,
    numbers,
    place_like,
    put_back,
    refuse_damaged,
    refuse_other,
)

Model = TypeVar("Model", bound=PyTree)


def save_parameters(path: str | os.PathLike, model: PyTree) -> None:
    """Write the arrays of a model to a file, which is there whole or as it was before.

    One line of JSON says each array's name, shape, dtype and checksum; the arrays follow, as
    `equinox.tree_serialise_leaves` writes them. Nothing is pickled.

    Raises:
        ValueError: where a number of the model is no JAX array.
        OSError: where it could not be written.

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
    path, arrays = pathlib.Path(path), arrays_of(model)
    content = io.BytesIO(json.dumps(describe(arrays)).encode() + b"\n")
    content.seek(0, io.SEEK_END)
    eqx.tree_serialise_leaves(content, [numbers(array) for array in arrays.values()])
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_parameters(path: str | os.PathLike, like: Model) -> Model:
    """The model with the arrays that `save_parameters` wrote, on the devices where its own are.

    Args:
        path: the file.
        like: a model of the same kind and sizes; its numbers are not read.

    Raises:
        ValueError: where the file is of another model, or damaged; the message names the arrays.
    """
    arrays, where = arrays_of(like), f"the file {os.fspath(path)}"
    with pathlib.Path(path).open("rb") as file:
        try:
            saved = json.loads(file.readline())
        except ValueError as error:
            raise damaged(where, "its first line does not say what it holds") from error
        refuse_other(saved, arrays, where)
        kinds = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in map(numbers, arrays.values())]
        kinds = dict(zip(arrays, kinds, strict=True))
        try:
            found = eqx.tree_deserialise_leaves(file, [kinds[name] for name in saved])
        except (RuntimeError, ValueError, OSError) as error:
            raise damaged(where, error) from error
    values = {name: np.asarray(value) for name, value in zip(saved, found, strict=True)}
    refuse_damaged(saved, values, where)
    return put_back(like, {name: place_like(values[name], array) for name, array in arrays.items()})
