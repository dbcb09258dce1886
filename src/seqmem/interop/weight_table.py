"""`WeightTable`: the correspondence between the parameters of a layer and those of a module of
another library.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core.cell import AbstractLayer
from .._core.errors import bad_input
from .._core.parametrization import evaluate_parametrizations
from .._core.precision import precision
from ._named_shapes import Sizes, shape_of, size_of, solve_sizes

AnyArray = Array | np.ndarray
Weights = dict[str, Float[np.ndarray, "..."]]


def concatenate(*arrays: AnyArray) -> AnyArray:
    """The arrays one below the other; a NumPy array where all are."""
    if len(arrays) == 1:
        return arrays[0]
    is_numpy = all(isinstance(array, np.ndarray) for array in arrays)
    return np.concatenate(arrays) if is_numpy else jnp.concatenate(arrays)


@dataclass(frozen=True)
class Row:
    """Parameters of ours and parameters of theirs that hold the same numbers.

        ours = split(to_ours(*theirs)[order])          theirs = split(to_theirs(*ours)[order⁻¹])

    `split` cuts an array into the shapes of the other side, in row-major order. Shapes are in
    words, as `seqmem.interop._named_shapes` reads them.

    Args:
        ours: path in our tree, such as "layers.1.W_o", to shape.
        theirs: name in the state_dict to shape; without any, our parameters are zeros.
        to_ours: of the arrays of theirs; by default they are concatenated along axis 0.
        to_theirs: the inverse, of our arrays as NumPy arrays.
        order: from the sizes to the places of our rows among theirs, where they are permuted.
    """

    ours: Mapping[str, str]
    theirs: Mapping[str, str]
    to_ours: Callable[..., AnyArray] = concatenate
    to_theirs: Callable[..., AnyArray] = concatenate
    order: Callable[[Sizes], np.ndarray] | None = None


def same(path: str, name: str, shape: str) -> Row:
    """The row of a parameter that has one name and the same shape on both sides."""
    return Row({path: shape}, {name: shape})


def complex_matrix(name: str, shape: str) -> Row:
    """Real and imaginary parts: along their last axis, along our first."""
    return Row(
        {name: f"2 {shape}"},
        {name: f"{shape} 2"},
        to_ours=lambda matrix: matrix.transpose(2, 0, 1),
        to_theirs=lambda parts: parts.transpose(1, 2, 0),
    )


@dataclass(frozen=True)
class WeightTable:
    """All rows of one module, and the two conversions that they make.

    Args:
        make: the function or class that makes our layer.
        arguments: names of arguments of `make` that are sizes, each with its words where they are
            not the name: "hidden_size=num_heads*value_size".
        rows: every parameter of ours and of theirs.
        remedy: what to do about a state_dict that does not fit, a sentence.
        is_partial: whether the state_dict may hold more than the rows.
        static: size to its path in our tree, for sizes that no shape of ours tells.
        groups: size that the caller gives to the size that it must divide.
    """

    make: Callable[..., AbstractLayer]
    arguments: Sequence[str]
    rows: Sequence[Row]
    remedy: str
    is_partial: bool = False
    static: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, str]:
        """Every name in the state_dict, with its shape in words."""
        return {name: shape for row in self.rows for name, shape in row.theirs.items()}

    def to_ours(
        self,
        state_dict: Mapping[str, Any],
        known: Mapping[str, int | None] | None = None,
        **options: Any,
    ) -> Any:
        """The layer with the parameters of a state_dict, in the widest precision among them.

        Args:
            state_dict: arrays by name, which may be traced by JAX.
            known: sizes that the arrays do not tell; for a group, None is the size it divides.
            options: more arguments of `make`.

        Raises:
            ValueError: where a name is missing or unknown, or a shape or a group does not fit.
        """
        arrays = self._read(state_dict)
        sizes = self._sizes(self.shapes, arrays, known or {}, self.remedy)
        values: dict[str, AnyArray] = {}
        for row in self.rows:
            ours = {path: shape_of(words, sizes) for path, words in row.ours.items()}
            if row.theirs:
                merged = row.to_ours(*(arrays[name] for name in row.theirs))
                values |= split(merged if row.order is None else merged[row.order(sizes)], ours)
            else:
                values |= {path: np.zeros(shape, precision(arrays)) for path, shape in ours.items()}
        for name, _, words in (argument.partition("=") for argument in self.arguments):
            options[name] = size_of(words or name, sizes)
        # Nothing is drawn: `make` only gives the structure.
        layer = eqx.filter_eval_shape(self.make, **options, key=jax.random.key(0))
        # Copies, since a NumPy array, or a tensor that shares its memory, may be written to later.
        copies = [jnp.array(value) for value in values.values()]
        layer = eqx.tree_at(lambda layer: [at(layer, path) for path in values], layer, copies)
        assert not any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(layer))
        return layer

    def to_theirs(self, layer: AbstractLayer) -> Weights:
        """The parameters of a layer by their names in the other library: the inverse of `to_ours`.

        Args:
            layer: made by `make`.

        Raises:
            ValueError: where a shape does not fit.
        """
        layer = evaluate_parametrizations(layer)
        shapes = {path: shape for row in self.rows for path, shape in row.ours.items()}
        remedy = "pass one layer with the sizes of one module."
        arrays = {
            path: np.array(_as_floating(path, at(layer, path), len(shape.split()), remedy))
            for path, shape in shapes.items()
        }
        known = {size: at(layer, path) for size, path in self.static.items()}
        sizes = self._sizes(shapes, arrays, known, remedy)
        values: dict[str, AnyArray] = {}
        for row in self.rows:
            merged = row.to_theirs(*(arrays[path] for path in row.ours))
            if row.order is not None:
                merged = merged[np.argsort(row.order(sizes))]
            values |= split(merged, {n: shape_of(words, sizes) for n, words in row.theirs.items()})
        return {name: np.array(value) for name, value in values.items()}

    def _read(self, state_dict: Mapping[str, Any]) -> dict[str, AnyArray]:
        """The arrays of the rows in the widest precision among them."""
        expected = self.shapes
        missing = sorted(expected.keys() - state_dict.keys())
        unknown = [] if self.is_partial else sorted(state_dict.keys() - expected.keys())
        if missing or unknown:
            raise bad_input(
                f"names {sorted(state_dict)}: {missing} missing, {unknown} unknown.",
                f"{sorted(expected)}" + (" among them." if self.is_partial else ", and no others."),
                self.remedy,
            )
        arrays = {
            name: _as_floating(name, state_dict[name], len(shape.split()), self.remedy)
            for name, shape in expected.items()
        }
        widest = jax.dtypes.canonicalize_dtype(precision(arrays))
        return {name: array.astype(widest, copy=False) for name, array in arrays.items()}

    def _sizes(
        self,
        shapes: Mapping[str, str],
        arrays: Mapping[str, AnyArray],
        known: Mapping[str, int | None],
        remedy: str,
    ) -> Sizes:
        """All sizes, with which every array has been checked."""
        pairs = [(shapes[name], arrays[name].shape) for name in shapes]
        sizes = solve_sizes(pairs, {name: size for name, size in known.items() if size is not None})
        for part, whole in self.groups.items():
            number = sizes.setdefault(part, sizes[whole])
            if not isinstance(number, int) or number < 1 or sizes[whole] % number:
                raise bad_input(
                    f"{part}={number} for {whole}={sizes[whole]}.",
                    f"a whole number that divides {sizes[whole]}.",
                    remedy,
                )
        sizes = solve_sizes(pairs, sizes)
        for name, words in shapes.items():
            if arrays[name].shape != shape_of(words, sizes):
                listing = ", ".join(f"{size}={length}" for size, length in sizes.items())
                raise bad_input(
                    f"{name} has shape {arrays[name].shape}.",
                    f"{shape_of(words, sizes)}: ({', '.join(words.split())}) for {listing}.",
                    remedy,
                )
        return sizes


def at(tree: Any, path: str) -> Any:
    """The node at a path such as "layers.1.W_o"."""
    for step in path.split("."):
        tree = tree[int(step)] if step.isdigit() else getattr(tree, step)
    return tree


def split(merged: AnyArray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, AnyArray]:
    """Arrays of these shapes, filled from `merged` in row-major order."""
    numbers, start, parts = merged.reshape(-1), 0, {}
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        parts[name] = numbers[start:stop].reshape(shape)
        start = stop
    return parts


def _as_floating(name: str, value: Any, axes: int, remedy: str) -> AnyArray:
    """One array of a state_dict, checked."""
    try:
        array = value if isinstance(value, jax.Array) else np.asarray(value)
    except TypeError:  # NumPy cannot read PyTorch's bfloat16
        array = jnp.from_dlpack(value)
    if array.ndim != axes or not jnp.issubdtype(array.dtype, jnp.floating):
        raise bad_input(
            f"{name} is {array.dtype} of shape {array.shape}.",
            f"floating point numbers with {axes} axes.",
            remedy,
        )
    return array
