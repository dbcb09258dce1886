"""`Stack`: layers on top of each other."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import PyTree

from .._core.batching import per_example_parts
from .._core.calls import describe, public_name
from .._core.cell import AbstractLayer
from .._core.errors import bad_input
from .._core.shapes import is_shape
from .._core.timed import is_timed
from .._methods.series import AbstractSeries


class Stack(AbstractSeries):
    """Layers on top of each other: each gets the outputs of the one below.

        s¹_t = update¹(s¹_{t−1}, project¹(x_t))        y¹_t = readout¹(s¹_t)
        s²_t = update²(s²_{t−1}, project²(y¹_t))       y²_t = readout²(s²_t)        ...

    A layer that takes a `seqmem.Timed` gets what the layer below it returns, with the Δt of the
    stack's inputs: layers in continuous time all see the same times.

    A stack of cells is a cell: it steps, and every law holds for it. A stack with a layer that
    needs the future, such as `seqmem.layers.Bidirectional`, can only be unrolled. The state is a
    tuple, one entry per layer. `unroll` runs it layer by layer, each by its own default method;
    `method=seqmem.layers.LayerByLayer(...)` chooses them, any other method runs the stack as one
    cell.

    Args:
        layers: from the bottom up, at least one.

    Raises:
        ValueError: without a layer, where something else stands among them, where an output does
            not fit the next layer's input, or where a layer takes a Δt and the first one does not.

    Example:
        >>> import jax, seqmem
        >>> low, high = jax.random.split(jax.random.key(0))
        >>> stack = seqmem.layers.Stack([seqmem.LSTM(3, 7, key=low), seqmem.GRU(7, 5, key=high)])
        >>> state, ys = seqmem.unroll(stack, None, jax.numpy.ones((11, 3)))
        >>> ys.shape
        (11, 5)
    """

    layers: tuple[Any, ...]

    def __init__(self, layers: Sequence[AbstractLayer]):
        if isinstance(layers, AbstractLayer):
            raise bad_input(
                f"Stack got {describe(layers)}.",
                "a list of layers.",
                "write seqmem.layers.Stack([layer]).",
            )
        for layer in layers:
            if not isinstance(layer, AbstractLayer):
                raise bad_input(
                    f"Stack got {describe(layer)} among its layers.",
                    "cells, or other layers.",
                    _remedy(layer),
                )
        if not layers:
            raise bad_input("Stack got no layer.", "one layer or more.", "pass a list of cells.")
        self.layers = tuple(layers)
        for index, (below, above) in enumerate(itertools.pairwise(layers)):
            _check_sizes(index, below, above, is_timed(layers[0].input_shape))

    @property
    def output_shape(self) -> PyTree:
        has_single_step = self.can_step and not per_example_parts(self)
        return super().output_shape if has_single_step else self.layers[-1].output_shape

    def map_first(self, change: Callable[[Any], Any]) -> "Stack":
        first, *above = self.layers
        return Stack([change(first), *above])


def _remedy(layer: Any) -> str:
    if isinstance(layer, type) and issubclass(layer, AbstractLayer):
        return f"make an instance first: {public_name(layer)}(..., key=jax.random.key(0))."
    if callable(layer):
        return "wrap a function in seqmem.layers.Map(...)."
    return "pass a list of cells."


def _check_sizes(index: int, below: AbstractLayer, above: AbstractLayer, has_delta_t: bool) -> None:
    """Refuse an output that does not fit the next layer's input, where both are known."""
    if None in jax.tree.leaves(below.input_shape, is_leaf=lambda node: node is None):
        return
    try:
        shape = below.output_shape
    except ValueError:
        if per_example_parts(below):  # a single step, from which the shape follows, is refused
            return
        raise
    needed = above.input_shape
    if is_timed(needed) and not is_timed(shape):
        if not has_delta_t:
            raise bad_input(
                f"Stack got layer {index + 1}, a {type(above).__name__}, which takes a Δt, above "
                "layers that get none.",
                "a first layer with an input_shape of seqmem.Timed(...), whose Δt all layers get.",
                "write a seqmem.layers.Map of seqmem.Timed inputs that returns them changed for "
                "what stands below the first cell.",
            )
        needed = needed.x
    expected = jax.tree.leaves(needed, is_leaf=is_shape)
    given = jax.tree.leaves(shape, is_leaf=is_shape)
    if len(expected) == 1 and len(given) == 1:
        fits = len(expected[0]) == len(given[0]) and all(
            size in (None, n) for size, n in zip(expected[0], given[0], strict=True)
        )
        if not fits:
            raise bad_input(
                f"Stack got layer {index}, a {type(below).__name__} with output_shape {shape}, "
                f"below layer {index + 1}, a {type(above).__name__} with input_shape "
                f"{above.input_shape}.",
                "layers whose sizes fit.",
                "change the size of one of them, or put a seqmem.layers.Map between them.",
            )
