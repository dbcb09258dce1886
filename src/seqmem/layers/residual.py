"""`Residual`: a layer whose input is added to its output."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

from .._core.errors import bad_input
from .._core.precision import as_precision, precision
from .._core.shapes import tree_names
from .._core.timed import is_timed
from .around import AbstractAround


class Residual(AbstractAround):
    """A layer with a residual connection: y_t = x_t + layer(x)_t. Of a `seqmem.Timed` input, x is
    added.

    Around a cell it is a cell: it steps, and every law holds for it. `unroll` runs the inner layer
    by its default method; `LayerByLayer` passes its methods on to it, and any other method runs the
    whole as one cell.

    Args:
        layer: one whose outputs have the shape of its inputs.

    Raises:
        ValueError: when run, where the shapes differ.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.layers import Map, Residual, RMSNorm, Stack
        >>> def block(key):
        ...     return Residual(Stack([RMSNorm(6), seqmem.S5(6, 8, key=key), Map(jax.nn.gelu)]))
        >>> net = Stack([block(key) for key in jax.random.split(jax.random.key(0), 4)])
        >>> state, ys = seqmem.unroll(net, None, jax.numpy.ones((7, 6)))
        >>> ys.shape
        (7, 6)
    """

    layer: Any  # an AbstractLayer; an AbstractCell where the whole steps

    @property
    def input_shape(self) -> PyTree:
        return self.layer.input_shape

    @property
    def output_shape(self) -> PyTree:
        return self.layer.output_shape

    def before(self, x: PyTree) -> PyTree:
        return x

    def after(self, x: PyTree, y: PyTree) -> PyTree:
        return add_residual(x, y)

    def map_first(self, change: Callable[[Any], Any]) -> "Residual":
        return Residual(change(self.layer))


def add_residual(x: PyTree, y: PyTree) -> PyTree:
    """x + y, in the precision of x; a Δt of x is left out."""
    x = x.x if is_timed(x) and not is_timed(y) else x
    if jax.tree.map(jax.numpy.shape, x) != jax.tree.map(jax.numpy.shape, y):
        raise bad_input(
            f"Residual got {tree_names(y)} from its layer for an input of {tree_names(x)}.",
            "an output of the shape of the input.",
            "choose the sizes of the layer alike, or put a seqmem.layers.Map after it.",
        )
    return jax.tree.map(jax.numpy.add, x, as_precision(y, precision(x)))
