"""HDF5 files that anybody may have written: the objects in the file itself, each once.

A file of HDF5 can name other files as the place of its objects and of their numbers, name one group
in many places, and name a shape of more numbers than it holds. None of this is followed.
"""

import importlib
import pathlib
from typing import Any

import numpy as np

from .._core.errors import bad_input

REMEDY = "save the model again with Keras 3; the file is damaged, or is of another program."


def walk(file: Any, source: pathlib.Path) -> dict[str, Any]:
    """Every group and dataset of a file of h5py, by its path in the file.

    Args:
        file: the open file.
        source: the file, in messages.

    Raises:
        ValueError: for a link, and for a group with two paths.
    """
    h5py = importlib.import_module("h5py")
    objects, groups, addresses = {}, [("", file)], {_address(file)}
    while groups:
        path, group = groups.pop()
        for name in group:
            child = f"{path}/{name}"
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                raise bad_input(f"{child} of {source} is a link.", "groups and datasets.", REMEDY)
            objects[child] = item = group[name]
            if isinstance(item, h5py.Group):
                if (address := _address(item)) in addresses:
                    raise bad_input(f"{child} of {source} has another path too.", "a tree.", REMEDY)
                addresses.add(address)
                groups.append((child, item))
    return objects


def _address(group: Any) -> int:
    return importlib.import_module("h5py").h5o.get_info(group.id).addr


def read_array(dataset: Any, size: int, path: pathlib.Path) -> np.ndarray:
    """The floating point numbers of a dataset of h5py.

    Args:
        dataset: of the file.
        size: bytes of the HDF5 file, which holds all of the numbers, uncompressed.
        path: the file, in messages.

    Raises:
        ValueError: for other numbers, for those that are stored elsewhere or compressed, and for a
            larger dataset than the file.
    """
    stored = dataset.id.get_create_plist()
    is_inside = not (dataset.is_virtual or stored.get_external_count() or stored.get_nfilters())
    if dataset.dtype.kind != "f" or not is_inside or dataset.chunks or dataset.nbytes > size:
        raise bad_input(
            f"{dataset.name} of {path} with shape {dataset.shape} and dtype {dataset.dtype}, which "
            f"{'is in' if is_inside else 'is not stored as it is in'} a file of {size} bytes.",
            "floating point numbers in the file, in one piece and not compressed.",
            REMEDY,
        )
    return dataset[()]
