"""Cells that are any map of a state, for tests of dynamics."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

import seqmem


class MapCell(seqmem.AbstractCell):
    """s_t = step(s_{t−1}, x_t), y_t = s_t."""

    step: Callable = eqx.field(static=True)
    start: Array

    def init_state(self):
        return self.start

    def project(self, x):
        return x

    def update(self, state, x):
        return self.step(state, x)

    def readout(self, state, x):
        return state


class MatrixInputCell(MapCell):
    """The same for inputs that are matrices."""

    input_shape: ClassVar = (None, None)


def autonomous(step, start, time):
    """A cell that ignores its input, and `time` inputs of size 0 for it."""
    return MapCell(lambda state, x: step(state), start), jnp.zeros((time, 0), start.dtype)


class RandomNetwork(seqmem.AbstractCell):
    """h_t = W tanh(h_{t−1}) without input."""

    W: Array
    start: Array
    input_shape: ClassVar = (0,)

    def init_state(self):
        return self.start

    def project(self, x):
        return x

    def update(self, h, x):
        return self.W @ jnp.tanh(h)

    def readout(self, h, x):
        return h
