"""The task, the networks and the training of the study of online learning."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

import seqmem
from seqmem import gradients

SYMBOLS, RATE = 8, 1 / 20
DENSITY = 8  # one in so many recurrent weights of the sparse network
CELLS = {
    "GRU": seqmem.GRU,
    "LSTM": seqmem.LSTM,
    "GRU, sparse": seqmem.GRU,
    "MinGRU": seqmem.MinGRU,
}


class Network(seqmem.AbstractCell):
    """A cell with a linear readout, of the same family."""

    cell: Any
    V: Array
    b: Array

    @property
    def family(self) -> seqmem.Family:
        return self.cell.family

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.cell.input_shape

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        return self.cell.project(x)

    def update(self, state, drive):
        return self.cell.update(state, drive)

    def mix(self, state, drive):
        return self.cell.mix(state, drive)

    def gate(self, state, z):
        return self.cell.gate(state, z)

    def readout(self, state, drive):
        return self.cell.readout(state, drive) @ self.V.mT + self.b


class FixedReadout(Network):
    """A network whose readout has no gradient."""

    def readout(self, state, drive):
        V, b = jax.lax.stop_gradient((self.V, self.b))
        return self.cell.readout(state, drive) @ V.mT + b


def make_network(name: str, hidden: int, key: PRNGKeyArray) -> Network:
    keys = jax.random.split(key, 3)
    cell = CELLS[name](SYMBOLS + 1, hidden, key=keys[0])
    if name.endswith("sparse"):
        mask = jax.random.bernoulli(keys[2], 1 / DENSITY, cell.U.shape)
        cell = eqx.tree_at(lambda cell: cell.U, cell, DENSITY**0.5 * mask * cell.U)
    V = jax.random.normal(keys[1], (SYMBOLS, hidden)) / hidden**0.5
    return Network(cell, V, jnp.zeros(SYMBOLS))


def rflo(network: Network, key: PRNGKeyArray) -> gradients.RFLO:
    size = sum(leaf.size for leaf in jax.tree.leaves(network.init_state()))
    return gradients.RFLO(network, jax.random.normal(key, (size, SYMBOLS)) / size**0.5)


ALGORITHMS: dict[str, Callable] = {
    "RTRL": lambda network, key: gradients.RTRL(network),
    "SnAp-1": lambda network, key: gradients.SnAp(network),
    "SnAp-2": lambda network, key: gradients.SnAp(network, 2),
    "e-prop": lambda network, key: gradients.EProp(network),
    "RFLO": rflo,
    "UORO": lambda network, key: gradients.UORO(network, key=key),
}


def make_stream(key: PRNGKeyArray, last: Array, steps: int) -> tuple[Array, Array]:
    """Symbols as one-hot vectors [steps, batch, SYMBOLS + 1], and the answers [steps, batch].

    `last` is the last symbol of each stream before the first step, [batch].
    """
    keys = jax.random.split(key)
    shape = steps, len(last)
    symbols = jax.random.randint(keys[0], shape, 0, SYMBOLS, jnp.int32)
    is_new = jax.random.bernoulli(keys[1], RATE, shape)

    def advance(last: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        last = jnp.where(step[0], step[1], last)
        return last, last

    answers = jax.lax.scan(advance, last, (is_new, symbols))[1]
    return jax.nn.one_hot(jnp.where(is_new, symbols, SYMBOLS), SYMBOLS + 1), answers


def loss_of(outputs: Array, answers: Array) -> Array:
    """The sum over the batch of the mean over the steps."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs, answers).mean(0).sum()


class Training(NamedTuple):
    """How a network is trained: `steps` of a batch of streams, in windows, by Adam."""

    steps: int
    window: int
    batch: int
    rate: float


@eqx.filter_jit
def train_through_time(
    network: Network, key: PRNGKeyArray, training: Training
) -> tuple[Network, Array]:
    """The network after the stream, and the loss of each window; zeros of U stay zero."""
    optimiser = optax.adam(training.rate)
    start = network

    def loss(network: Network, state: Any, xs: Array, answers: Array) -> tuple[Array, Any]:
        state, outputs = seqmem.unroll(network, state, xs)
        return loss_of(outputs, answers), state

    def window(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, Array]:
        network, moments, state, last = carry
        xs, answers = make_stream(key, last, training.window)
        (value, state), gradient = jax.value_and_grad(loss, has_aux=True)(
            network, state, xs, answers
        )
        if hasattr(network.cell, "U"):
            gradient = eqx.tree_at(
                lambda tree: tree.cell.U, gradient, gradient.cell.U * (start.cell.U != 0)
            )
        updates, moments = optimiser.update(gradient, moments)
        network = eqx.apply_updates(network, updates)
        return (network, moments, state, answers[-1]), value / training.batch

    last = jnp.zeros(training.batch, jnp.int32)
    carry = network, optimiser.init(network), network.init_state(training.batch), last
    keys = jax.random.split(key, max(1, training.steps // training.window))
    (network, *_), losses = jax.lax.scan(window, carry, keys)
    return network, losses


@eqx.filter_jit
def train_online(online: Any, key: PRNGKeyArray, training: Training) -> tuple[Network, Array]:
    """The network after the stream, with an update at every step, and the mean loss of windows."""
    optimiser = optax.adam(training.rate)

    def one(online: Any, traced: Any, x: Array, answer: Array) -> tuple[Any, Network, Array]:
        traced, y = online(traced, x)
        value, d_y = jax.value_and_grad(optax.softmax_cross_entropy_with_integer_labels)(y, answer)
        return traced, online.output_gradient(traced, x, d_y), value

    def step(carry: tuple, inputs: tuple[Array, Array]) -> tuple[tuple, Array]:
        cell, moments, traced = carry
        current = eqx.tree_at(lambda online: online.cell, online, cell)
        traced, gradient, values = jax.vmap(functools.partial(one, current))(traced, *inputs)
        gradient = jax.tree.map(lambda leaf: leaf.sum(0), gradient)
        updates, moments = optimiser.update(gradient, moments)
        return (eqx.apply_updates(cell, updates), moments, traced), values.mean()

    def window(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, Array]:
        learned, last = carry
        xs, answers = make_stream(key, last, training.window)
        learned, losses = jax.lax.scan(step, learned, (xs, answers))
        return (learned, answers[-1]), losses.mean()

    learned = online.cell, optimiser.init(online.cell), online.init_state(training.batch)
    last = jnp.zeros(training.batch, jnp.int32)
    keys = jax.random.split(key, max(1, training.steps // training.window))
    (learned, _), losses = jax.lax.scan(window, (learned, last), keys)
    return learned[0], losses
