"""Any function of one step as a cell, so that it can stand in a stack."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import PyTree

from .._cells.pointwise import AbstractPointwiseCell


class Map(AbstractPointwiseCell):
    """A function of each step by itself: y_t = fn(x_t).

    Its arrays are parameters: it may be a module of Equinox with matrices, or `jax.nn.gelu`.

    Args:
        fn: a function of one input, without batch and time; finite at 0, with its derivatives.
        input_shape: the shape of one input, as for every cell; None is any size.

    Example:
        >>> import equinox as eqx, jax, seqmem
        >>> low, high = jax.random.split(jax.random.key(0))
        >>> readout = seqmem.layers.Map(eqx.nn.Linear(5, 2, key=high))
        >>> net = seqmem.layers.Stack([seqmem.GRU(3, 5, key=low), readout])
        >>> state, ys = seqmem.unroll(net, net.init_state(), jax.numpy.ones((7, 3)))
        >>> ys.shape
        (7, 2)
    """

    arrays: PyTree
    rest: PyTree = eqx.field(static=True)
    input_shape: Any = eqx.field(static=True)

    def __init__(self, fn: Callable[[PyTree], PyTree], *, input_shape: Any = (None,)):
        self.arrays, self.rest = eqx.partition(fn, eqx.is_array)
        self.input_shape = input_shape

    def project(self, x):
        return eqx.combine(self.arrays, self.rest)(x)
