"""The readers of `seqmem.interop`: files of Keras, and graphs of NIR."""

import functools
import io
import json
import random
import zipfile

import numpy as np

from seqmem import interop
from seqmem._core.errors import bad_input

from .reader import Parts, Reader

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
OPTIONS = {"name": "memory", "activation": "tanh", "recurrent_activation": "sigmoid"}
SHAPES = {"0": (3, 15), "1": (5, 15), "2": (2, 15)}
PAIR = ("forward_layer", "backward_layer")
LIF = {"type": "LIF", "tau": [2.0, 3.0], "r": [1.0, 2.0], "v_threshold": [1.0, 2.0]}
LIF |= {"v_leak": [0.0, 0.0], "v_reset": [0.0, 0.0]}
CUBA = LIF | {"type": "CubaLIF", "tau_mem": [2.0, 3.0], "tau_syn": [2.0, 3.0], "w_in": [1.0, 1.0]}
GRAPH = {
    "nodes": {
        "input": {"type": "Input"},
        "fc": {"type": "Affine", "weight": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "bias": [0.0, 1.0]},
        "lif": LIF,
        "fc2": {"type": "Linear", "weight": [[1.0, 2.0], [3.0, 4.0]]},
        "cuba": CUBA,
        "rec": {"type": "Linear", "weight": [[1.0, 2.0], [3.0, 4.0]]},
        "output": {"type": "Output"},
    },
    "edges": [
        *(["input", "fc"], ["fc", "lif"], ["lif", "fc2"], ["fc2", "cuba"]),
        *(["cuba", "rec"], ["rec", "cuba"], ["cuba", "output"]),
    ],
}


@functools.cache
def weights(libver: str = "earliest") -> bytes:
    """A `.weights.h5` file of a GRU and a bidirectional one."""
    h5py = __import__("h5py")
    content = io.BytesIO()
    with h5py.File(content, "w", libver=(libver, "v110")) as file:
        for group, name, parts in (("gru", "memory", [""]), ("both", "second", PAIR)):
            file.create_group(f"layers/{group}/vars").attrs["name"] = name
            for part in parts:
                for number, shape in SHAPES.items():
                    file[f"layers/{group}/{part}/cell/vars/{number}"] = np.ones(shape, "f4")
    return content.getvalue()


def config() -> bytes:
    layers = [{"class_name": "GRU", "config": OPTIONS}]
    layers.append({"config": {"name": "second", "layer": {"config": OPTIONS}}})
    return json.dumps({"config": {"layers": layers}}).encode()


def archive(rng: random.Random, parts: Parts) -> Parts:
    """A `.keras` file, stored as Keras does, or compressed."""
    content = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(content, "w", method) as members:
        for name, member in parts.items():
            members.writestr(zipfile.ZipInfo(name), member, method)
    return {"model.keras": content.getvalue()}


def read_both(path):
    interop.read_keras(path, "memory")
    interop.read_keras(path, "second")


def make_node(description):
    """An object with the fields of a node of NIR, whose class has the name of its type."""
    fields = {n: np.asarray(value) for n, value in description.items() if n != "type"}
    return type(str(description["type"]), (), fields)()


def read_graph(folder):
    try:
        graph = json.loads((folder / "graph.json").read_bytes())
        nodes = {str(name): make_node(node) for name, node in graph["nodes"].items()}
        edges = [(str(source), str(target)) for source, target in graph["edges"]]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError):
        raise bad_input("no graph.", "one of NIR.", "the package nir reads the files.") from None
    interop.from_nir(type("NIRGraph", (), {"nodes": nodes, "edges": edges})(), dt=0.5)


READERS = {
    "keras": Reader(
        lambda folder: read_both(folder / "model.keras"),
        lambda: [{CONFIG: config(), WEIGHTS: weights(version)} for version in ("earliest", "v110")],
        archive,
        package="h5py",
        library="libhdf5",
        quick_cases=20,
    ),
    "hdf5": Reader(
        lambda folder: read_both(folder / "model.weights.h5"),
        lambda: [{"model.weights.h5": weights(version)} for version in ("earliest", "v110")],
        package="h5py",
        library="libhdf5",
        quick_cases=20,
    ),
    "nir": Reader(
        read_graph,
        lambda: [{"graph.json": json.dumps(GRAPH).encode()}],
        names=("",),
        quick_cases=10,
    ),
}
