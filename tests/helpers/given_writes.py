"""A fast-weight cell without parameters of its own, for tests of the family."""

from typing import Any

import equinox as eqx

import seqmem


class Given(seqmem.AbstractFastWeightCell):
    """A cell whose inputs are the writes themselves, and whose outputs are the readings."""

    learned: seqmem.Memory
    axes: Any = eqx.field(static=True)

    @property
    def input_axes(self):
        return self.axes

    def init_state(self):
        return self.learned

    def project(self, x):
        return x, None

    def output(self, reading, extra):
        return reading
