"""One checkpoint on disk, written and read by Orbax: arrays, and a JSON header with a checksum."""

import json
import math
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from .._core.json_text import parse_json
from ..training._placement import raw_array
from ._manifest import damaged_file


class OrbaxFiles:
    """Reads and writes checkpoints, a folder each.

    Raises:
        ImportError: without Orbax.
    """

    def __init__(self):
        try:
            import orbax.checkpoint as orbax
        except ImportError as error:
            raise ImportError(
                "checkpoints need Orbax, which is not installed.\n"
                "  Expected: the package orbax-checkpoint.\n"
                "  What to do: pip install 'seqmem[train]'."
            ) from error
        self._args = orbax.args
        self._checkpointer = orbax.Checkpointer(orbax.CompositeCheckpointHandler())

    def write(
        self, path: pathlib.Path, header: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> None:
        """Write a checkpoint under a temporary name, and rename it when it is complete."""
        text = json.dumps(header)
        raw = {name: _same_in_all_processes(raw_array(array)) for name, array in arrays.items()}
        args = self._args
        self._checkpointer.save(
            path,
            args=args.Composite(
                arrays=args.StandardSave(_numbered(raw)),
                header=args.JsonSave({"text": text, "checksum": zlib.crc32(text.encode())}),
            ),
        )

    def read_header(self, path: pathlib.Path) -> dict[str, Any]:
        """The header of a checkpoint.

        Raises:
            ValueError: where it is damaged or missing.
        """
        args = self._args
        try:
            saved = self._checkpointer.restore(
                path, args=args.Composite(header=args.JsonRestore())
            ).header
            if zlib.crc32(saved["text"].encode()) != saved["checksum"]:
                raise ValueError("wrong checksum of its header")
            header = parse_json(saved["text"].encode(), "its header")
            value = header["value"]
            if not isinstance(header["arrays"], dict) or not isinstance(header["metadata"], dict):
                raise ValueError("its header has no arrays or no metadata")
            if value is not None and not (type(value) in (int, float) and math.isfinite(value)):
                raise ValueError(f"its header has the value {value!r}")
            return header
        except Exception as error:  # Orbax raises many types
            raise damaged_file(f"the checkpoint {path}", error) from error

    def read_arrays(self, path: pathlib.Path, like: Mapping[str, Array]) -> dict[str, np.ndarray]:
        """The arrays of a checkpoint, random keys as numbers.

        Args:
            path: its folder.
            like: arrays of the saved shapes and dtypes, in the saved order.

        Raises:
            ValueError: where it is damaged.
        """
        blank = {}
        for name, array in like.items():
            kind = jax.eval_shape(raw_array, array)
            # NumPy arrays: the caller chooses the devices, and float64 stays float64.
            blank[name] = np.broadcast_to(np.zeros((), kind.dtype), kind.shape)
        args = self._args
        try:
            restore = args.StandardRestore(_numbered(blank))
            saved = self._checkpointer.restore(path, args=args.Composite(arrays=restore)).arrays
            values = (np.asarray(saved[number]) for number in sorted(saved))
            nonempty = (name for name, value in blank.items() if value.size)
            return blank | dict(zip(nonempty, values, strict=True))
        except Exception as error:  # Orbax raises many types
            raise damaged_file(f"the checkpoint {path}", error) from error


def _numbered(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays by their numbers: Orbax refuses empty arrays and interprets names."""
    return {f"{i:05d}": array for i, array in enumerate(arrays.values()) if array.size}


def _same_in_all_processes(array: Array) -> Array | np.ndarray:
    """An array of one process, of several, as a NumPy array, which one process writes for all."""
    is_local = jax.process_count() > 1 and array.is_fully_addressable
    return np.asarray(array) if is_local else array
