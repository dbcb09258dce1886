"""The cells that `memory_tasks` trains, by name, and the model around them."""

import functools
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

import seqmem
from seqmem import tasks

from .memory_networks import MATRIX_NETWORKS, method_of, oscillator_blocks

TCN_TAPS = 8

# (input_size, width, lag, *, key) -> cell, and the options of some cells
MakeCell = Callable[..., seqmem.AbstractCell]


class LinearGates(seqmem.AbstractDiagonalCell):
    """s_t = φ(W x_t + b) ∘ s_{t−1} + V x_t; the range of φ is the range of the eigenvalues."""

    W: Float[Array, "hidden input"]
    V: Float[Array, "hidden input"]
    b: Float[Array, " hidden"]
    phi: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(self, input_size: int, width: int, phi: Callable, *, key: PRNGKeyArray):
        self.W, self.V = jax.random.normal(key, (2, width, input_size))
        self.b = jnp.zeros(width)
        self.phi = phi

    @property
    def input_shape(self):
        return self.W.shape[1:]

    def init_state(self):
        return jnp.zeros_like(self.b)

    def project(self, x):
        return self.phi(x @ self.W.mT + self.b), x @ self.V.mT

    def update(self, s, u):
        a, v = u
        return a * s + v

    def readout(self, s, u):
        return s


def without_lag(cell_type: Callable[..., seqmem.AbstractCell]) -> MakeCell:
    """A cell whose initialisation does not depend on the task's lag."""
    return lambda input_size, width, lag, *, key, **options: cell_type(
        input_size, width, key=key, **options
    )


def with_chrono(cell_type: Callable[..., seqmem.AbstractCell]) -> MakeCell:
    """A cell with chrono biases for the task's lag."""

    def make(input_size: int, width: int, lag: int, *, key: PRNGKeyArray) -> seqmem.AbstractCell:
        keys = jax.random.split(key)
        cell = cell_type(input_size, width, key=keys[0])
        return seqmem.with_chrono_bias(cell, lag, key=keys[1])

    return make


def tcn_for_lag(input_size: int, width: int, lag: int, *, key: PRNGKeyArray) -> seqmem.AbstractCell:
    """A TCN with the settings of Bai et al. 2018, table 2: 8 taps, and enough levels for one
    convolution of each to see over the lag (8 levels for a copy after 1000 steps).
    """
    levels = math.ceil(math.log2(lag / (TCN_TAPS - 1) + 1))
    return seqmem.blocks.tcn(input_size, width, num_levels=levels, width=TCN_TAPS, key=key)


def lru_for_lag(input_size: int, width: int, lag: int, *, key: PRNGKeyArray) -> seqmem.AbstractCell:
    """An LRU whose eigenvalues decay over the lag."""
    r_min, r_max = math.exp(-4 / lag), math.exp(-1 / lag)
    return seqmem.LRU(input_size, width, r_min=r_min, r_max=r_max, key=key)


def three_layers(cell_type: Callable[..., seqmem.AbstractCell]) -> MakeCell:
    """Three layers of a cell, as the authors of UnICORNN stack it."""

    def make(input_size: int, width: int, lag: int, *, key: PRNGKeyArray, **options: float):
        sizes = (input_size, width, width)
        keys = jax.random.split(key, len(sizes))
        layers = [
            cell_type(size, width, key=key, **options)
            for size, key in zip(sizes, keys, strict=True)
        ]
        return seqmem.layers.Stack(layers)

    return make


CELLS: dict[str, MakeCell] = {
    "RNN": without_lag(seqmem.RNN),
    "LSTM": without_lag(seqmem.LSTM),
    "LSTM chrono": with_chrono(seqmem.LSTM),
    "GRU": without_lag(seqmem.GRU),
    "GRU chrono": with_chrono(seqmem.GRU),
    "MinGRU": without_lag(seqmem.MinGRU),
    "LRU": lru_for_lag,
    "CoRNN": without_lag(seqmem.CoRNN),
    "LEM": without_lag(seqmem.LEM),
    "UnICORNN": three_layers(seqmem.UnICORNN),
    "LinOSS": oscillator_blocks,
    "ExpRNN": without_lag(seqmem.ExpRNN),
    "TCN": tcn_for_lag,
    "gates [-1, 1]": without_lag(functools.partial(LinearGates, phi=jnp.tanh)),
    "gates [0, 1]": without_lag(functools.partial(LinearGates, phi=jax.nn.sigmoid)),
    **MATRIX_NETWORKS,
}


class AnswerModel(eqx.Module):
    """A cell, and answers that are linear in its outputs.

    a_t = V y_t + b
    """

    cell: seqmem.AbstractCell
    V: Float[Array, "answers hidden"]
    b: Float[Array, " answers"]

    def __init__(
        self,
        name: str,
        task: tasks.AbstractMemoryTask,
        width: int,
        key: PRNGKeyArray,
        **cell_options: float,
    ):
        keys = jax.random.split(key)
        self.cell = CELLS[name](task.input_size, width, task.lag, key=keys[0], **cell_options)
        (output_size,) = self.cell.output_shape
        self.V = jax.random.normal(keys[1], (task.output_size, output_size)) / math.sqrt(
            output_size
        )
        self.b = jnp.zeros(task.output_size)

    def __call__(self, xs: Float[Array, "time batch input"]) -> Float[Array, "time batch answers"]:
        _, ys = seqmem.unroll(self.cell, None, xs, method=method_of(self.cell))
        return ys @ self.V.T + self.b
