"""Rows of kernels, which multiply from the right: (features, hidden), or (features, gates · hidden)
with the gates side by side. Flax, Haiku and Keras hold their weights so.

Gates have names, and each library an order of them. Ours is that of the cell.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._core.errors import bad_input
from .weight_table import AnyArray, Row, concatenate


def by_gate(array: AnyArray, order: Sequence[int]) -> AnyArray:
    """Blocks of rows in another order: block i of the result is block order[i] of the array."""
    return array.reshape(len(order), -1, *array.shape[1:])[np.array(order)]


def places(ours: Sequence[str], theirs: Sequence[str]) -> tuple[int, ...]:
    """Where each of our gates stands among theirs; a cell without gates has one block."""
    return tuple(theirs.index(gate) for gate in ours) or (0,)


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """Where each of their gates stands among ours."""
    return tuple(np.argsort(order).tolist())


def kernels(path: str, features: str, names: Sequence[str]) -> Row:
    """One kernel for each gate, in our order."""
    gates = f"{len(names)} " if len(names) > 1 else ""
    return Row(
        {path: f"{gates}hidden_size {features}"},
        dict.fromkeys(names, f"{features} hidden_size"),
        to_ours=lambda *matrices: concatenate(*(matrix.T for matrix in matrices)),
        to_theirs=lambda W: W.swapaxes(-1, -2),
    )


def biases(path: str, names: Sequence[str]) -> Row:
    """One bias for each gate, in our order."""
    gates = f"{len(names)} " if len(names) > 1 else ""
    return Row({path: f"{gates}hidden_size"}, dict.fromkeys(names, "hidden_size"))


def kernel(path: str, features: str, name: str, order: Sequence[int]) -> Row:
    """One kernel of all gates; `order` has their places, as `places` finds them."""
    gates = f"{len(order)} " if len(order) > 1 else ""
    back = inverse(order)

    def to_theirs(W: AnyArray) -> AnyArray:
        return by_gate(W.reshape(-1, W.shape[-1]), back).reshape(-1, W.shape[-1]).T

    return Row(
        {path: f"{gates}hidden_size {features}"},
        {name: f"{features} {len(order)}*hidden_size"},
        to_ours=lambda matrix: by_gate(matrix.T, order),
        to_theirs=to_theirs,
    )


def bias(path: str, name: str, order: Sequence[int]) -> Row:
    """One bias of all gates."""
    gates = f"{len(order)} " if len(order) > 1 else ""
    back = inverse(order)
    return Row(
        {path: f"{gates}hidden_size"},
        {name: f"{len(order)}*hidden_size"},
        to_ours=lambda b: by_gate(b, order),
        to_theirs=lambda b: by_gate(b.reshape(-1), back),
    )


def flatten(params: Mapping[str, Any], remedy: str) -> dict[str, Any]:
    """Nested dicts of arrays as one, with names such as "hf.kernel"."""
    if not isinstance(params, Mapping):
        raise bad_input(
            f"parameters of type {type(params).__name__}.", "a dict of arrays by name.", remedy
        )
    flat = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{rest}": leaf for rest, leaf in flatten(value, remedy).items()}
        else:
            flat[str(name)] = value
    return flat


def nest(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    nested: dict[str, Any] = {}
    for name, value in weights.items():
        *groups, last = name.split(".")
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = value
    return nested
