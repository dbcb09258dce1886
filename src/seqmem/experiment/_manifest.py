"""The manifest of saved arrays: the shape, dtype and checksum of each."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Array

from .._core.errors import bad_input
from ._checksums import checksums_of, has_checksum, is_checksum

Manifest = dict[str, list]  # path -> [shape, dtype, checksum]
MAX_NAMES = 5  # in a message


def manifest_of(arrays: Mapping[str, Array]) -> Manifest:
    """The manifest of some arrays. The dtype of random keys names their kind. An array that is
    spread over several processes has a checksum for each shard.
    """
    checksums = checksums_of(arrays)
    return {
        name: [list(array.shape), str(array.dtype), checksums[name]]
        for name, array in arrays.items()
    }


def check_manifest(manifest: Manifest, arrays: Mapping[str, Array], source: str) -> None:
    """Refuse saved arrays of another model.

    Args:
        manifest: that of the saved arrays.
        arrays: the arrays of the model, with the expected shapes and dtypes.
        source: the file, in the message.

    Raises:
        ValueError: where paths, shapes or dtypes differ; the message names the first ones.
    """
    if not all(map(_is_entry, manifest.values())):
        raise damaged_file(source, "its manifest lacks the shape, dtype or checksum of an array")
    expected = {name: [list(array.shape), str(array.dtype)] for name, array in arrays.items()}
    differences = [f"{name} is not in it" for name in expected if name not in manifest]
    differences += [
        f"it holds {name}, {_kind(manifest[name])}" for name in manifest if name not in expected
    ]
    differences += [
        f"{name} is {_kind(manifest[name])} in it, not {_kind(expected[name])}"
        for name in expected
        if name in manifest and manifest[name][:2] != expected[name]
    ]
    if differences:
        more = len(differences) - MAX_NAMES
        text = "; ".join(differences[:MAX_NAMES]) + (f"; and {more} more" if more > 0 else "")
        raise bad_input(
            f"{source} is of another model: {text}.",
            "the arrays of the given model, with its shapes and dtypes.",
            "build the model and the optimiser as they were, or choose another checkpoint.",
        )


def check_checksums(manifest: Manifest, values: Mapping[str, np.ndarray], source: str) -> None:
    """Refuse arrays that differ from those that were saved.

    Raises:
        ValueError: where a checksum differs; the message names the arrays.
    """
    damaged = [name for name in values if not has_checksum(values[name], manifest[name][2])]
    if damaged:
        raise damaged_file(source, f"wrong checksum of {', '.join(damaged[:MAX_NAMES])}")


def damaged_file(source: str, reason: object) -> ValueError:
    """The error to raise for a file that is not as it was written."""
    return bad_input(
        f"{source} is damaged: {reason}.",
        "the bytes that were written.",
        "delete it, and use the checkpoint before it or a copy.",
    )


def _is_entry(entry: object) -> bool:
    """Whether it is [shape, dtype, checksum]."""
    return (
        isinstance(entry, list)
        and len(entry) == 3
        and isinstance(entry[0], list)
        and all(type(size) is int for size in entry[0])
        and isinstance(entry[1], str)
        and is_checksum(entry[2], entry[0])
    )


def _kind(entry: list) -> str:
    shape, dtype = entry[:2]
    return f"{dtype}{shape}"
