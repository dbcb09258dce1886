"""All steps of a stateless cell at once: time is one more batch axis."""

from .._cell import over, project, readout
from .._methods.default import default_method
from .._methods.parallel import Parallel, in_parallel
from .base import AbstractStatelessCell


@default_method.register
def _(cell: AbstractStatelessCell):
    return Parallel()


@in_parallel.register
def _(cell: AbstractStatelessCell, init, state, inputs, *, batch_axes, reverse, block):
    ys = over(lambda x: readout(cell, init, project(cell, x, init)), 1 + batch_axes)(inputs.x)
    return state, ys
