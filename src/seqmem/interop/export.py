"""Exported programs that take a cell as an argument: `jax.export` needs to know its classes."""

import json
from typing import Any

import equinox as eqx
import jax
from jax import export

from .._core.cell import AbstractLayer
from .._core.errors import bad_input

_registered: set[type] = set()


def register_for_export(layer: AbstractLayer) -> None:
    """Let `jax.export` serialise and load programs with this layer, or its state, in their
    arguments or results.

    Call it before `Exported.serialize()`, and again in the program that loads the result. Static
    fields must be numbers, strings, booleans, None, or tuples of them.

    Args:
        layer: a layer; every class of module and named tuple in it and its state is registered.

    Example:
        >>> import jax, seqmem
        >>> cell, xs = seqmem.GRU(3, 5, key=jax.random.key(0)), jax.numpy.ones((7, 2, 3))
        >>> seqmem.interop.register_for_export(cell)
        >>> run = jax.jit(lambda cell, xs: seqmem.unroll(cell, None, xs)[1])
        >>> stored = jax.export.export(run)(cell, xs).serialize()
        >>> loaded = jax.export.deserialize(stored)
        >>> loaded.call(cell, xs).shape
        (7, 2, 5)
    """
    state = jax.eval_shape(lambda layer: layer.init_state(), layer)
    for tree in (layer, state):
        for cls in _classes_in(tree):
            if cls not in _registered:
                _register(cls)
                _registered.add(cls)


def _classes_in(tree: Any) -> set[type]:
    """The classes of all modules and named tuples in a tree."""
    classes: set[type] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, eqx.Module) or hasattr(node, "_fields"):
            classes.add(type(node))
        return False

    jax.tree.leaves(tree, is_leaf=visit)
    return classes


def _register(cls: type) -> None:
    name = f"{cls.__module__}.{cls.__qualname__}"
    if not issubclass(cls, eqx.Module):
        export.register_namedtuple_serialization(cls, serialized_name=name)
        return

    def serialize(auxdata: tuple) -> bytes:
        _, *static = auxdata  # the first entry is for wrapped functions, which a layer is not
        try:
            return json.dumps(static).encode()
        except TypeError as error:
            raise bad_input(
                f"{name} has static fields {static}.",
                "numbers, strings, booleans, None, or tuples of them.",
                "pass jax.tree.leaves(cell) to the exported function instead of the cell.",
            ) from error

    def deserialize(stored: bytes | bytearray) -> tuple:
        return (_not_wrapped(), *map(_as_tuple, json.loads(stored.decode())))

    export.register_pytree_node_serialization(
        cls, serialized_name=name, serialize_auxdata=serialize, deserialize_auxdata=deserialize
    )


class _Empty(eqx.Module):
    pass


def _not_wrapped() -> Any:
    """What Equinox puts first into the static data of a module that wraps no function."""
    return jax.tree.structure(_Empty()).node_data()[1][0]  # pyright: ignore


def _as_tuple(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
