"""All steps of a stateless cell at once: time is one more batch axis."""

from .._methods.scan.bptt import shown_from
from .._methods.default import default_method
from .._methods.parallel import Parallel, in_parallel
from .pointwise import AbstractPointwiseCell


@default_method.register
def _(cell: AbstractPointwiseCell):
    return Parallel()


@in_parallel.register
def _(cell: AbstractPointwiseCell, init, state, inputs, *, batch_axes, reverse, block):
    return state, shown_from(batch_axes, cell, init, inputs.x)
