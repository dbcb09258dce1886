"""The `repr` of layers: shapes, state, parameters and family, a line for each layer.

Nothing is computed: shapes come from abstract evaluation. What a layer cannot say, such as the
shapes of one whose parameters were filtered away, is left out.
"""

import collections
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

MAX_LINES = 25
MAX_STATE_LEAVES = 4
MAX_SHAPE = 40  # characters


def summary(layer: Any) -> str:
    """A line for the layer and one for each layer in it; equal neighbours share one."""
    try:
        lines = _lines(layer)
    except Exception:  # half made, or of leaves that are no arrays: a repr never raises
        return f"{type(layer).__name__}(...)"
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], f"  ... {len(lines) - MAX_LINES + 1} more lines"]
    return "\n".join(lines)


def _lines(layer: Any) -> list[str]:
    parts = list(_layers_in(layer))
    lines = [_line(layer, is_network=bool(parts))]
    for count, texts in _without_repetition(parts):
        texts = [f"{count} × {texts[0]}", *texts[1:]] if count > 1 else texts
        lines += ["  " + text for text in texts]
    return lines


def _layers_in(node: Any) -> Iterator[Any]:
    """The layers that are parts of a module, and not parts of its parts."""
    for field in dataclasses.fields(node):
        part = None if field.metadata.get("static") else getattr(node, field.name, None)
        for leaf in jax.tree.leaves(part, is_leaf=lambda leaf: isinstance(leaf, eqx.Module)):
            if hasattr(type(leaf), "_title"):
                yield leaf
            elif isinstance(leaf, eqx.Module):
                yield from _layers_in(leaf)


def _without_repetition(layers: list[Any]) -> list[tuple[int, list[str]]]:
    """(how many, lines) for each group of neighbours with the same lines."""
    groups: list[tuple[int, list[str]]] = []
    before = None
    for layer in layers:
        is_same = before is not None and _are_alike(before, layer)
        texts = groups[-1][1] if is_same else _lines(layer)
        if groups and groups[-1][1] == texts:
            groups[-1] = (groups[-1][0] + 1, texts)
        else:
            groups.append((1, texts))
        before = layer
    return groups


def _are_alike(first: Any, second: Any) -> bool:
    """Whether two layers surely have the same lines, so that the second need not be described."""
    shapes = [
        [(getattr(leaf, "shape", None), getattr(leaf, "dtype", None)) for leaf in leaves]
        for leaves in (jax.tree.leaves(first), jax.tree.leaves(second))
    ]
    try:
        return shapes[0] == shapes[1] and jax.tree.structure(first) == jax.tree.structure(second)
    except Exception:  # static parts that cannot be compared
        return False


def _line(layer: Any, *, is_network: bool) -> str:
    """`LSTM((3,) -> (64,); state h (64,), c (64,); 17,408 float32 parameters; gated)`."""
    parts = [_shapes(layer), "" if is_network else _or_nothing(_state, layer)]
    parts += [_parameters(layer), _or_nothing(lambda layer: layer.family.name, layer)]
    return f"{layer._title}({'; '.join(part for part in parts if part)})"


def _or_nothing(describe: Callable[[Any], str], layer: Any) -> str:
    try:
        return describe(layer)
    except Exception:  # see the module's docstring
        return ""


def _shapes(layer: Any) -> str:
    shapes = [
        _or_nothing(lambda layer: str(layer.input_shape), layer),
        _or_nothing(lambda layer: str(layer.output_shape), layer),
    ]
    return " -> ".join(
        shape if len(shape) <= MAX_SHAPE else shape[:MAX_SHAPE] + "..." for shape in shapes if shape
    )


def _state(layer: Any) -> str:
    state = jax.eval_shape(lambda layer: layer.init_state(), layer)
    leaves = jax.tree.leaves_with_path(state)
    if not leaves:
        return ""
    if len(leaves) > MAX_STATE_LEAVES:
        size = sum(math.prod(leaf.shape) for _, leaf in leaves)
        return f"state of {len(leaves)} arrays, {size:,} entries"
    names = [f"{jax.tree_util.keystr(path).lstrip('.')} {leaf.shape}" for path, leaf in leaves]
    return "state " + ", ".join(name.strip() for name in names)


def _parameters(layer: Any) -> str:
    """The number of real or complex entries, and their dtypes, the most frequent first."""
    counts: collections.Counter[str] = collections.Counter()
    for leaf in jax.tree.leaves(layer):
        dtype = getattr(leaf, "dtype", None)
        if dtype is not None and jnp.issubdtype(dtype, jnp.inexact):
            counts[str(dtype)] += math.prod(leaf.shape)
    total = sum(counts.values())
    if not total:
        return "no parameters"
    dtypes = " and ".join(dtype for dtype, _ in counts.most_common())
    return f"{total:,} {dtypes} parameters"
