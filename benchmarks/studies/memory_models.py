"""What `memory_tasks` trains, on what, and how: cells by name, tasks with their settings."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import seqmem
from seqmem import tasks

TAPS = 8  # of a convolution


class LinearGates(seqmem.AbstractDiagonalCell):
    """s_t = φ(W x_t + b) ∘ s_{t−1} + V x_t; the eigenvalues are in the range of φ."""

    W: Float[Array, "hidden input"]
    V: Float[Array, "hidden input"]
    b: Float[Array, " hidden"]
    phi: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(self, inputs: int, width: int, phi: Callable, *, key: PRNGKeyArray):
        self.W, self.V = jax.random.normal(key, (2, width, inputs))
        self.b = jnp.zeros(width)
        self.phi = phi

    def init_state(self):
        return jnp.zeros_like(self.b)

    def project(self, x):
        return self.phi(x @ self.W.mT + self.b), x @ self.V.mT

    def update(self, s, u):
        a, v = u
        return a * s + v

    def readout(self, s, u):
        return s


def chrono(cell: Callable[..., seqmem.AbstractCell]) -> Callable[..., seqmem.AbstractCell]:
    def made(inputs: int, width: int, lag: int, *, key: PRNGKeyArray) -> seqmem.AbstractCell:
        keys = jax.random.split(key)
        return seqmem.with_chrono_bias(cell(inputs, width, key=keys[0]), lag, key=keys[1])

    return made


def plain(cell: Callable[..., seqmem.AbstractCell]) -> Callable[..., seqmem.AbstractCell]:
    return lambda inputs, width, lag, *, key: cell(inputs, width, key=key)


def covering(inputs: int, width: int, lag: int, *, key: PRNGKeyArray) -> seqmem.AbstractCell:
    """A TCN of the settings of Bai et al. 2018, table 2: 8 taps, and levels enough that one
    convolution of each sees over the lag (8 of them for a copy after 1000 steps).
    """
    levels = math.ceil(math.log2(lag / (TAPS - 1) + 1))
    return seqmem.blocks.tcn(inputs, width, levels, TAPS, key=key)


def behind_a_filter(
    cell: Callable[..., seqmem.AbstractCell],
) -> Callable[..., seqmem.AbstractCell]:
    """A matrix memory of two heads behind a convolution of four taps, as its paper runs it: what is
    written under a key may then be what came after it.
    """

    def made(inputs: int, width: int, lag: int, *, key: PRNGKeyArray) -> seqmem.AbstractCell:
        keys = jax.random.split(key)
        short = seqmem.DepthwiseConv(inputs, 4, key=keys[0])
        return seqmem.layers.Stack([short, cell(inputs, width, 2, key=keys[1])])

    return made


MATRICES: dict[str, Callable[..., seqmem.AbstractCell]] = {
    "LinearAttention": behind_a_filter(seqmem.LinearAttention),
    "GLA": behind_a_filter(seqmem.GLA),
    "MLSTM": behind_a_filter(seqmem.MLSTM),
    "DeltaRule": behind_a_filter(seqmem.DeltaRule),
    "GatedDeltaRule": behind_a_filter(seqmem.GatedDeltaRule),
    "KDA": behind_a_filter(seqmem.KDA),
    "RWKV7": behind_a_filter(seqmem.RWKV7),
}

CELLS: dict[str, Callable[..., seqmem.AbstractCell]] = {
    "RNN": plain(seqmem.RNN),
    "LSTM": plain(seqmem.LSTM),
    "LSTM chrono": chrono(seqmem.LSTM),
    "GRU": plain(seqmem.GRU),
    "GRU chrono": chrono(seqmem.GRU),
    "MinGRU": plain(seqmem.MinGRU),
    "LRU": lambda inputs, width, lag, *, key: seqmem.LRU(
        inputs, width, smallest=math.exp(-4 / lag), largest=math.exp(-1 / lag), key=key
    ),
    "TCN": covering,
    "gates [-1, 1]": plain(functools.partial(LinearGates, phi=jnp.tanh)),
    "gates [0, 1]": plain(functools.partial(LinearGates, phi=jax.nn.sigmoid)),
    **MATRICES,
}


def clipped_adam(rate: float) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


def rmsprop(rate: float) -> optax.GradientTransformation:
    """As PyTorch has it, with which Bai et al. 2018 train the copy task; their program clips a
    gradient before it is computed, which is no clipping.
    """
    return optax.rmsprop(rate, decay=0.99, eps=1e-8, eps_in_sqrt=False)


class Problem(NamedTuple):
    """What a cell is trained on and tested on, and what is run where no option says otherwise.

    `optimiser` is made from a learning rate; what takes `long` is run when it is named.
    """

    train: tasks.AbstractMemoryTask
    test: tasks.AbstractMemoryTask
    cells: tuple[str, ...] = ("LSTM chrono", "LRU", "gates [-1, 1]")
    width: int = 128
    learning_rate: float = 3e-3
    iterations: int = 1000
    optimiser: Callable[[float], optax.GradientTransformation] = clipped_adam
    long: bool = False


def same(task: tasks.AbstractMemoryTask, **settings: Any) -> Problem:
    return Problem(task, task, **settings)


TASKS: dict[str, Problem] = {
    "copy": same(tasks.CopyMemory(200), cells=("LRU",)),
    "long copy": same(
        tasks.CopyMemory(1000),
        cells=("TCN",),
        width=10,
        learning_rate=5e-4,
        iterations=5000,
        optimiser=rmsprop,
        long=True,
    ),
    "selective copy": same(tasks.SelectiveCopy(64, 8)),
    "adding": same(tasks.Adding(200), cells=("LSTM chrono",)),
    "parity": Problem(
        tasks.parity(40, 3),
        tasks.parity(256, 40),
        cells=("gates [-1, 1]", "gates [0, 1]"),
        width=10,
        learning_rate=1e-2,
        iterations=2000,
    ),
    "S3": same(tasks.GroupWords(tasks.symmetric(3), 20)),
    "A5": same(tasks.GroupWords(tasks.alternating(5), 20)),
    "temporal order": same(tasks.TemporalOrder(100)),
    "recall": same(tasks.AssociativeRecall(64, 4, 64)),
    "induction": same(tasks.Induction(64)),
    "flip-flop": same(tasks.FlipFlop(128)),
}


class Answering(eqx.Module):
    """A cell, and answers that are linear in what it shows."""

    cell: seqmem.AbstractCell
    V: Float[Array, "answers output"]
    b: Float[Array, " answers"]

    def __init__(self, name: str, task: tasks.AbstractMemoryTask, width: int, key: PRNGKeyArray):
        keys = jax.random.split(key)
        self.cell = CELLS[name](task.input_size, width, task.lag, key=keys[0])
        shown = jax.eval_shape(lambda x: self.shown(x), jnp.zeros((1, task.input_size)))
        columns = shown.shape[-1]
        self.V = jax.random.normal(keys[1], (task.answers, columns)) / math.sqrt(columns)
        self.b = jnp.zeros(task.answers)

    def shown(self, xs: Array) -> Array:
        return seqmem.unroll(self.cell, self.cell.init_state(), xs)[1]

    def __call__(self, xs: Float[Array, "time batch input"]) -> Float[Array, "time batch answers"]:
        return self.shown(xs) @ self.V.T + self.b
