"""A fast-weight cell without parameters, for tests of the family."""

from typing import Any

import equinox as eqx

import seqmem


class GivenWrites(seqmem.AbstractFastWeightCell):
    """A cell whose inputs are the writes and whose outputs are the readings.

    `write_shape` is the shape of one write, or a `Write` of shapes.
    """

    learned: seqmem.Memory
    write_shape: Any = eqx.field(static=True, default=(None, None))

    @property
    def input_shape(self):
        return self.write_shape

    def init_state(self):
        return self.learned

    def project(self, x):
        return x, None

    def output(self, reading, extra):
        return reading
