"""Weights are read from files of Keras; a file that leads elsewhere or is damaged is refused."""

import itertools
import json
import re
import sys
import zipfile

import numpy as np
import pytest

import seqmem
from seqmem.interop import from_keras, read_keras
from tests.helpers.interop import as_keras, assert_identical, reference_of
from tests.helpers.memory import memory_below
from tests.helpers.refusals import assert_refused

GRU = reference_of("keras GRU", "param")
BEFORE = reference_of("keras GRU, reset before", "param")

pytestmark = pytest.mark.usefixtures("float64")

# The layout of Keras 3.15, whose groups have the names of classes.


def write_weights(h5py, file, layers):
    """A `.weights.h5` file of layers, by the name of their group, with their name and weights."""
    with h5py.File(file, "w") as root:
        for group, (name, weights) in layers.items():
            root.create_group(f"{group}/vars").attrs["name"] = name
            is_bidirectional = "forward_layer" in weights
            for part, arrays in weights.items() if is_bidirectional else [("", weights)]:
                for number, array in enumerate(arrays.values()):
                    root[f"{group}/{part}/cell/vars/{number}"] = array
    return file


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="h5py is not installed")


PAIR = as_keras(reference_of("keras GRU, bidirectional", "param"))
LAYERS = {
    "layers/gru": ("memory", GRU),
    "layers/sequential/layers/gru_1": ("second", BEFORE),
    "layers/bidirectional": ("both", PAIR),
    "layers/lstm_of_many": ("many", dict.fromkeys("abcde", np.ones(3))),
}


@pytest.mark.parametrize(
    ("layer", "weights"), [("memory", GRU), ("second", BEFORE), ("both", PAIR)]
)
def test_weights_are_read_from_a_file_by_the_name_of_the_layer(h5py, tmp_path, layer, weights):
    path = write_weights(h5py, tmp_path / "model.weights.h5", LAYERS)
    assert_identical(read_keras(path, layer), weights)


def write_keras(h5py, folder, **options):
    """A `.keras` file of one layer with these options."""
    weights = write_weights(h5py, folder / "model.weights.h5", LAYERS)
    layer = {"class_name": "GRU", "config": {"name": "memory"} | options}
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [layer]}}))
        archive.write(weights, "model.weights.h5")
    return path


def test_file_of_a_whole_model_is_read(h5py, tmp_path):
    gates = {"activation": "tanh", "recurrent_activation": "sigmoid", "go_backwards": False}
    path = write_keras(h5py, tmp_path, **gates)
    cell = from_keras(seqmem.GRU, read_keras(path, "memory"))
    assert_identical(cell, from_keras(seqmem.GRU, GRU))


@pytest.mark.parametrize(
    ("options", "came"),
    [
        ({"go_backwards": True}, "layer 'memory' with go_backwards=True in model.keras."),
        ({"merge_mode": "sum"}, "layer 'memory' with merge_mode='sum' in model.keras."),
        (
            {"activation": "relu", "recurrent_activation": "sigmoid"},
            "layer 'memory' with activation='relu' in model.keras.",
        ),
        (
            {"layer": {"config": {"recurrent_activation": "hard_sigmoid"}}},
            "layer 'memory' with recurrent_activation='hard_sigmoid' in model.keras.",
        ),
    ],
)
def test_layer_with_other_equations_is_refused(h5py, tmp_path, options, came):
    assert_refused(came, read_keras, write_keras(h5py, tmp_path, **options), "memory")


def test_activation_of_a_simple_rnn_is_not_refused(h5py, tmp_path):
    path = write_keras(h5py, tmp_path, activation="relu")
    assert_identical(read_keras(path, "memory"), GRU)


def test_file_that_is_none_of_keras_is_refused(h5py, tmp_path):
    path = write_weights(h5py, tmp_path / "model.weights.h5", LAYERS)
    assert_refused("layer 'gru'.", read_keras, path, "gru")
    assert_refused("the layer /layers/lstm_of_many with 5", read_keras, path, "many")
    (tmp_path / "model.keras").write_text("no archive")
    assert_refused("the file model.keras.", read_keras, tmp_path / "model.keras", "memory")
    assert_refused("the file model.h5.", read_keras, tmp_path / "model.h5", "memory")


def test_file_without_h5py_is_refused_in_three_parts(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"(?s)h5py.+\n  Expected: .+\n  What to do: pip install"):
        read_keras(tmp_path / "model.keras", "memory")


# Files that anybody may have written.

GROUP = "layers/gru/cell/vars"


def outer_link(h5py, file, folder):
    (folder / "other.h5").write_bytes((folder / "model.weights.h5").read_bytes())
    file["layers/other"] = h5py.ExternalLink("other.h5", "/layers/gru")


def inner_link(h5py, file, folder):
    file["layers/other"] = h5py.SoftLink("/layers/gru")


def cycle(h5py, file, folder):
    file["layers/gru/layers"] = file["layers"]


def numbers_of_another_file(h5py, file, folder):
    (folder / "secret").write_bytes(bytes(60))
    del file[f"{GROUP}/0"]
    external = [(str(folder / "secret"), 0, 60)]
    file[GROUP].create_dataset("0", (3, 5), "f4", external=external)


def view_of_another_file(h5py, file, folder):
    layout = h5py.VirtualLayout((3, 5), "f4")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "x", (3, 5))
    del file[f"{GROUP}/0"]
    file[GROUP].create_virtual_dataset("0", layout)


def shape_without_numbers(h5py, file, folder):
    del file[f"{GROUP}/0"]
    file[GROUP].create_dataset("0", (10**5, 10**5), "f4")


def compressed(h5py, file, folder):
    del file[f"{GROUP}/0"]
    file[GROUP].create_dataset("0", data=np.zeros((300, 50), "f4"), compression="gzip")


def strings(h5py, file, folder):
    del file[f"{GROUP}/0"]
    file[f"{GROUP}/0"] = ["a", "b"]


def group_in_place_of_numbers(h5py, file, folder):
    del file[f"{GROUP}/0"]
    file.create_group(f"{GROUP}/0")


SPOILS = {
    outer_link: "/layers/other of .+ is a link",
    inner_link: "/layers/other of .+ is a link",
    cycle: "/layers/gru/layers of .+ has another path too",
    numbers_of_another_file: "which is not stored as it is in a file",
    view_of_another_file: "which is not stored as it is in a file",
    shape_without_numbers: r"with shape \(100000, 100000\)",
    compressed: "which is not stored as it is in a file",
    strings: "and dtype object",
    group_in_place_of_numbers: "cannot be read",
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_file_that_leads_elsewhere_or_holds_other_numbers_is_refused(h5py, tmp_path, spoil):
    path = write_weights(h5py, tmp_path / "model.weights.h5", LAYERS)
    with h5py.File(path, "r+") as file:
        spoil(h5py, file, tmp_path)
    with memory_below(2**22):
        message = assert_refused("", read_keras, path, "memory")
    assert re.search(SPOILS[spoil], message)
    assert str(path) in message


def test_groups_of_two_paths_each_are_no_tree(h5py, tmp_path):
    """There would be 2^40 paths."""
    path = write_weights(h5py, tmp_path / "model.weights.h5", LAYERS)
    with h5py.File(path, "r+") as file:
        groups = [file.create_group(f"g{i}") for i in range(41)]
        for outer, inner in itertools.pairwise(groups):
            outer["a"] = outer["b"] = inner
    assert "has another path too" in assert_refused("", read_keras, path, "memory")


def test_damaged_file_of_keras_is_refused(h5py, tmp_path):
    path = write_weights(h5py, tmp_path / "model.weights.h5", LAYERS)
    path.write_bytes(path.read_bytes()[:-100])
    assert_refused(f"{path} cannot be read", read_keras, path, "memory")
    path = tmp_path / "model.keras"
    config = json.dumps({"config": {"name": "memory", "layer": 3}})
    for members, came in [
        ({}, f"{path} without ['config.json', 'model.weights.h5']"),
        ({"config.json": "[" * 10**5}, f"config.json of {path} is not JSON"),
        ({"config.json": config}, f"{path} cannot be read"),
        ({"config.json": " " * 10**7}, f"{path} is no zip file that can be read"),
    ]:
        files = {"model.weights.h5": "no HDF5"} | members if members else {}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        assert_refused(came, read_keras, path, "memory")
