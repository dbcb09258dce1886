"""`read_keras`: the weights of one layer of a file of Keras 3, which is not needed for it."""

import io
import json
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._core.errors import bad_input

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
        source: Any = path
    elif path.suffix == ".keras" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _check_config(json.loads(archive.read("config.json")), layer)
            source = io.BytesIO(archive.read("model.weights.h5"))
    else:
        raise bad_input(
            f"the file {path.name}.",
            "a .keras or .weights.h5 file of Keras 3.",
            "save the model with model.save('model.keras') in Keras 3.",
        )
    with h5py.File(source, "r") as file:
        groups = _layers(file)
        if layer not in groups:
            raise bad_input(
                f"layer {layer!r}.",
                f"one of the recurrent layers of {path.name}: {sorted(groups)}.",
                "pass the layer's name in Keras, layer.name.",
            )
        group = groups[layer]
        if PARTS[0] in group:
            return {part: _arrays(group[part]) for part in PARTS}
        return _arrays(group)


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


def _layers(group: Any) -> dict[str, Any]:
    """The groups of recurrent layers anywhere below a group, by the layers' names."""
    layers = {}
    for key, item in group.items():
        if not hasattr(item, "items"):
            continue
        if "cell/vars" in item or PARTS[0] in item:
            name = item["vars"].attrs.get("name", key) if "vars" in item else key
            layers[str(name)] = item
        else:
            layers |= _layers(item)
    return layers


def _arrays(group: Any) -> dict[str, np.ndarray]:
    """The variables of a cell, numbered in the file."""
    variables = group.get("cell/vars", {})
    if not 2 <= len(variables) <= 3:
        raise bad_input(
            f"the layer {group.name} with {len(variables)} variables.",
            "a SimpleRNN, LSTM or GRU, which has 2 or 3.",
            "pass the name of such a layer.",
        )
    numbers = (str(number) for number in range(len(variables)))
    return {name: variables[n][()] for name, n in zip(NAMES, numbers, strict=False)}


def _check_config(config: Any, layer: str) -> None:
    """Refuse a layer whose options no cell here has."""
    for options in _configs(config):
        if options.get("name") != layer:
            continue
        inner = options.get("layer", {}).get("config", {})
        for name, value in [*inner.items(), *options.items()]:
            allowed = EXPECTED.get(name, (value,))
            if name == "activation" and "recurrent_activation" in (inner or options):
                allowed = ("tanh",)
            if value not in allowed:
                raise bad_input(
                    f"layer {layer!r} with {name}={value!r}.",
                    f"{name}={allowed[0]!r}: the cells here have no other.",
                    "take the arrays of layer.weights, and convert them where your equations are.",
                )


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
