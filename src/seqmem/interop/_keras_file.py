"""`read_keras`: the weights of one layer of a file of Keras 3, which is not needed for it."""

import functools
import io
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .._core.archives import read_members
from .._core.errors import bad_input, is_ours
from .._core.json_text import parse_json
from ._hdf5 import read_array, walk

MEMBERS = CONFIG, WEIGHTS = ("config.json", "model.weights.h5")
REMEDY = "save the model with model.save('model.keras') in Keras 3."
NAMES = ("kernel", "recurrent_kernel", "bias")  # in the order of the file
PARTS = ("forward_layer", "backward_layer")
# What a layer must be for its weights to be those of a cell here.
EXPECTED = {
    "recurrent_activation": ("sigmoid",),
    "go_backwards": (False,),
    "merge_mode": ("concat",),
}


def read_keras(path: str | os.PathLike[str], layer: str) -> dict[str, Any]:
    """The weights of one recurrent layer in a file that Keras 3 saved, for `from_keras`.

        weights = read_keras("model.keras", "lstm")
        cell = from_keras(seqmem.LSTM, weights)

    It needs h5py (`pip install 'seqmem[keras]'`), and runs nothing that the file holds. A `.keras`
    file also has the layer's options, which are checked: a layer with `go_backwards`, with other
    gates than sigmoids, with another `merge_mode` than "concat", or, if it is no `SimpleRNN`, with
    another `activation` than tanh, has no cell here.

    Args:
        path: of a `.keras` or a `.weights.h5` file.
        layer: the layer's name, `layer.name` in Keras.

    Returns:
        NumPy arrays by the variables' names: "kernel", "recurrent_kernel" and "bias"; for a
        `Bidirectional` layer two such dicts, "forward_layer" and "backward_layer".

    Raises:
        ValueError: for another file, or a layer that is not in it or is no recurrent one.
        ImportError: where h5py is not installed.
    """
    h5py = _import_h5py()
    path = pathlib.Path(path)
    if path.name.endswith(".weights.h5"):
        source, size = path, path.stat().st_size
    elif path.suffix == ".keras" and zipfile.is_zipfile(path):
        members = dict(read_members(path, MEMBERS.__contains__, str(path)))
        if missing := [name for name in MEMBERS if name not in members]:
            raise bad_input(f"{path} without {missing}.", f"{MEMBERS}, as Keras 3 writes.", REMEDY)
        _check_config(parse_json(members[CONFIG], f"{CONFIG} of {path}"), layer, path)
        source, size = io.BytesIO(members[WEIGHTS]), len(members[WEIGHTS])
    else:
        raise bad_input(
            f"the file {path.name}.", "a .keras or .weights.h5 file of Keras 3.", REMEDY
        )
    try:
        with h5py.File(source, "r") as file:
            read = functools.partial(read_array, size=size, path=path)
            return _weights(walk(file, path), layer, path, read)
    except Exception as error:  # h5py raises many types
        if is_ours(error):
            raise
        raise bad_input(
            f"{path} cannot be read: {error}.", "the weights of a model of Keras 3.", REMEDY
        ) from error


def _weights(
    objects: Mapping[str, Any], layer: str, path: pathlib.Path, read: Callable[[Any], np.ndarray]
) -> dict[str, Any]:
    """The arrays of a layer, read from the groups and datasets of a file by their paths."""
    groups = _layers(objects)
    if layer not in groups:
        raise bad_input(
            f"layer {layer!r}.",
            f"one of the recurrent layers of {path.name}: {sorted(groups)}.",
            "pass the layer's name in Keras, layer.name.",
        )
    group = groups[layer]
    if f"{group}/{PARTS[0]}" in objects:
        parts = {part: _variables(objects, f"{group}/{part}", path) for part in PARTS}
        return {part: {n: read(each) for n, each in found.items()} for part, found in parts.items()}
    return {name: read(each) for name, each in _variables(objects, group, path).items()}


def _import_h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "files of Keras need h5py, which is not installed.\n"
            "  Expected: the package h5py.\n"
            "  What to do: pip install 'seqmem[keras]', or pass the arrays of layer.weights to "
            "from_keras."
        ) from error
    return h5py


def _layers(objects: Mapping[str, Any]) -> dict[str, str]:
    """The paths of recurrent layers by the layers' names. A layer within one is its part."""
    layers = {}
    for group in objects:
        above = str(pathlib.PurePosixPath(group).parent)
        is_layer = f"{group}/cell/vars" in objects or f"{group}/{PARTS[0]}" in objects
        if is_layer and f"{above}/{PARTS[0]}" not in objects:
            variables, key = objects.get(f"{group}/vars"), group.rpartition("/")[2]
            layers[str(key if variables is None else variables.attrs.get("name", key))] = group
    return layers


def _variables(objects: Mapping[str, Any], group: str, path: pathlib.Path) -> dict[str, Any]:
    """The datasets of the variables of a cell, which are numbered in the file."""
    numbers = [f"{group}/cell/vars/{number}" for number in range(len(NAMES))]
    count = sum(name.startswith(f"{group}/cell/vars/") for name in objects)
    if not 2 <= count <= 3 or not all(name in objects for name in numbers[:count]):
        raise bad_input(
            f"the layer {group} with {count} variables in {path.name}.",
            "a SimpleRNN, LSTM or GRU, which has 2 or 3.",
            "pass the name of such a layer.",
        )
    return {n: objects[number] for n, number in zip(NAMES, numbers[:count], strict=False)}


def _check_config(config: Any, layer: str, path: pathlib.Path) -> None:
    """Refuse a layer whose options no cell here has."""
    for options in _configs(config):
        if options.get("name") != layer:
            continue
        inner = _dict(_dict(options.get("layer")).get("config"))
        for name, value in [*inner.items(), *options.items()]:
            allowed = EXPECTED.get(name, (value,))
            if name == "activation" and "recurrent_activation" in (inner or options):
                allowed = ("tanh",)
            if value not in allowed:
                raise bad_input(
                    f"layer {layer!r} with {name}={value!r} in {path.name}.",
                    f"{name}={allowed[0]!r}: the cells here have no other.",
                    "take the arrays of layer.weights, and convert them where your equations are.",
                )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _configs(config: Any) -> Iterator[dict[str, Any]]:
    """All dicts of options with a name in a config."""
    if isinstance(config, dict):
        if "name" in config:
            yield config
        for value in config.values():
            yield from _configs(value)
    elif isinstance(config, list):
        for value in config:
            yield from _configs(value)
