"""A NIR graph as layers: which node follows which, and the arrays of each layer.

Nodes are known by the names of their classes, so the package `nir` is not imported.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .._core.errors import bad_input

FIELDS = {
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "CubaLIF": ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
}
LINEAR = ("Affine", "Linear")


class NIRLayer(NamedTuple):
    """A layer of a chain: the name and the kind of its neurons' node, and all of its arrays."""

    name: str
    kind: str
    arrays: dict[str, Float[np.ndarray, "..."]]


def layers_of(graph: Any) -> list[NIRLayer]:
    """The layers from the input to the output.

    Raises:
        ValueError: for a graph that is no chain of linear maps and neurons.
    """
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    following: dict[str, list[str]] = {name: [] for name in kinds}
    for source, target in graph.edges:
        is_known = {source, target} <= kinds.keys()
        _check(is_known, f"an edge {(source, target)}", "edges between its nodes")
        following[source].append(target)
    inputs = [name for name, kind in kinds.items() if kind == "Input"]
    _check(len(inputs) == 1, f"{len(inputs)} inputs", "one Input node")

    def only_next(name: str, *allowed: str) -> str:
        targets = following[name]
        came = f"node {name!r} before {[kinds[target] for target in targets]}"
        _check(len(targets) == 1 and kinds[targets[0]] in allowed, came, " or ".join(allowed))
        return targets[0]

    layers, seen = [], {inputs[0]}
    place = only_next(inputs[0], *LINEAR)
    while kinds[place] in LINEAR:
        neuron = only_next(place, *FIELDS)
        arrays = _linear(graph.nodes[place]) | _neuron(graph.nodes[neuron], kinds[neuron])
        seen |= {place, neuron}
        for back in [name for name in following[neuron] if following[name] == [neuron]]:
            _check(kinds[back] in LINEAR, f"a {kinds[back]} from spikes to neurons", "Linear")
            recurrent = _linear(graph.nodes[back])
            same = recurrent["bias"].shape == arrays["bias"].shape
            _check(same, f"a recurrent bias of shape {recurrent['bias'].shape}", "one per neuron")
            arrays |= {"recurrent": recurrent["weight"]}
            arrays["bias"] = arrays["bias"] + recurrent["bias"]
            following[neuron] = [name for name in following[neuron] if name != back]
            seen.add(back)
        layers.append(NIRLayer(neuron, kinds[neuron], _with_vectors(arrays)))
        place = only_next(neuron, *LINEAR, "Output")
        _check(place not in seen, f"a way back from {neuron!r} to {place!r}", "no other loop")
    unused = sorted(kinds.keys() - seen - {place})
    _check(not unused, f"other nodes, {unused}", "one way from the input to the output")
    return layers


def _linear(node: Any) -> dict[str, np.ndarray]:
    weight = _numbers(node, "weight")
    _check(weight.ndim == 2, f"a weight of shape {weight.shape}", "matrices")
    size = len(weight)
    bias = _numbers(node, "bias") if hasattr(node, "bias") else np.zeros(size, weight.dtype)
    _check(bias.shape == (size,), f"a bias of shape {bias.shape}", f"{size} numbers")
    return {"weight": weight, "bias": bias}


def _neuron(node: Any, kind: str) -> dict[str, np.ndarray]:
    return {name: _numbers(node, name) for name in FIELDS[kind]}


def _numbers(node: Any, name: str) -> np.ndarray:
    array = np.asarray(getattr(node, name, None))
    is_finite = array.dtype.kind in "fiu" and bool(np.isfinite(array).all())
    _check(is_finite, f"{name}={array!r:.200} of a node", "finite real numbers")
    return array


def _with_vectors(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with constants that all neurons share written out for each of them."""
    size = arrays["weight"].shape[0]
    vectors = {
        name: np.broadcast_to(array, (size,)) if array.size == 1 and array.ndim < 2 else array
        for name, array in arrays.items()
    }
    for name, array in vectors.items():
        shape = {"weight": array.shape, "recurrent": (size, size)}.get(name, (size,))
        _check(array.shape == shape, f"{name} of shape {array.shape}", f"{shape}")
    return vectors


def _check(is_right: bool, came: str, expected: str) -> None:
    if not is_right:
        raise bad_input(
            f"a NIR graph with {came}.",
            f"{expected}, in a chain of Affine or Linear and LIF or CubaLIF nodes.",
            "flatten graphs within the graph, and cut it to layers that follow each other.",
        )
