"""`AbstractAround`: a layer with a function of one step before it and one after it."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import PyTree

from .._core.batching import vmap_axes
from .._core.cell import readout, update
from .._core.container import AbstractContainer, AbstractContainerCell
from .._core.method import AbstractMethod
from .._core.precision import as_precision, precision
from .._core.problem import Drive, Output, Problem, Solution, State
from .._methods.default import default_method
from .._methods.layer_by_layer import COMPOSITE, LayerByLayer, method_of_part


class AbstractAround(AbstractContainerCell):
    """A layer with a function of one step before it and one after it.

        y_t = after(x_t, layer(before(x))_t)

    Around a cell it is a cell. `unroll` runs the inner layer by its default method; `LayerByLayer`
    passes its methods on to it, and any other method runs the whole as one cell.

    Attributes:
        layer: an AbstractLayer; an AbstractCell where the whole steps.
    """

    family = COMPOSITE

    layer: eqx.AbstractVar[Any]

    @abc.abstractmethod
    def before(self, x: PyTree) -> PyTree:
        """The part of an input that the layer gets, whatever axes are in front."""

    @abc.abstractmethod
    def after(self, x: PyTree, y: PyTree) -> Output:
        """The output, of the input and of what the layer returns."""

    @property
    def can_step(self) -> bool:
        return self.layer.can_step

    def init_state(self) -> State:
        return self.layer.init_state()

    def project(self, x: PyTree) -> Drive:
        return x, self.layer.project(self.before(x))

    def update(self, state: State, drive: Drive) -> State:
        _, inner_drive = drive
        return update(self.layer, state, inner_drive)

    def readout(self, state: State, drive: Drive) -> Output:
        x, inner_drive = drive
        return self.after(x, readout(self.layer, state, inner_drive))

    def run_parts(self, problem: Problem, methods: tuple[AbstractMethod | None, ...]) -> Solution:
        default = default_method(self.layer)
        if isinstance(self.layer, AbstractContainer) and isinstance(default, LayerByLayer):
            method: AbstractMethod = LayerByLayer(*methods)
        else:
            method = method_of_part(self.layer, methods, 0, 1)
        inner = problem.replace(cell=self.layer, inputs=self.before(problem.inputs))
        solution = method.run(inner)
        x = as_precision(problem.inputs, precision(self.layer))
        x = as_precision(x, precision(problem.init))
        outputs = vmap_axes(self.after, 1 + problem.batch_axes)(x, solution.outputs)
        return Solution(solution.state, outputs, solution.states, solution.stats)
