"""`Residual`: a layer whose input is added to its output."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

from .._core.batching import vmap_axes
from .._core.cell import readout, update
from .._core.container import AbstractContainer, AbstractContainerCell
from .._core.errors import bad_input
from .._core.method import AbstractMethod
from .._core.precision import as_precision, precision
from .._core.problem import Drive, Output, Problem, Solution, State
from .._core.shapes import tree_names
from .._core.timed import is_timed
from .._methods.default import default_method
from .._methods.layer_by_layer import COMPOSITE, LayerByLayer, method_of_part


class Residual(AbstractContainerCell):
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

    family = COMPOSITE

    layer: Any  # an AbstractLayer; an AbstractCell where the whole steps

    @property
    def input_shape(self) -> PyTree:
        return self.layer.input_shape

    @property
    def can_step(self) -> bool:
        return self.layer.can_step

    @property
    def output_shape(self) -> PyTree:
        return self.layer.output_shape

    def init_state(self) -> State:
        return self.layer.init_state()

    def project(self, x: PyTree) -> Drive:
        return x, self.layer.project(x)

    def update(self, state: State, drive: Drive) -> State:
        _, inner_drive = drive
        return update(self.layer, state, inner_drive)

    def readout(self, state: State, drive: Drive) -> Output:
        x, inner_drive = drive
        return add_residual(x, readout(self.layer, state, inner_drive))

    def map_first(self, change: Callable[[Any], Any]) -> "Residual":
        return Residual(change(self.layer))

    def run_parts(self, problem: Problem, methods: tuple[AbstractMethod | None, ...]) -> Solution:
        default = default_method(self.layer)
        if isinstance(self.layer, AbstractContainer) and isinstance(default, LayerByLayer):
            method: AbstractMethod = LayerByLayer(*methods)
        else:
            method = method_of_part(self.layer, methods, 0, 1)
        solution = method.run(problem.replace(cell=self.layer))
        x = as_precision(problem.inputs, precision(self.layer))
        x = as_precision(x, precision(problem.init))
        outputs = vmap_axes(add_residual, 1 + problem.batch_axes)(x, solution.outputs)
        return Solution(solution.state, outputs, solution.states, solution.stats)


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
