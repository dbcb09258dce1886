"""On a mesh of devices the gradients of parameters are summed per share of the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec as P

import seqmem
from seqmem._core.mesh import num_shares
from seqmem._core.problem import Problem
from seqmem._methods.evaluate import Run, evaluate
from seqmem._methods.scan.forward import tile_sizes_of
from tests.helpers.programs import lowered
from tests.helpers.slow import slow_but
from tests.helpers.unrolling import close, normal

TIME, INPUT, HIDDEN = 12, 3, 5
KEY = jax.random.key(0)


class WithGain(seqmem.AbstractCell):
    """A cell whose input is scaled for each example."""

    inner: seqmem.AbstractCell
    gain: jax.Array | seqmem.PerExample

    def init_state(self):
        return self.inner.init_state()

    def project(self, x):
        return self.inner.project(self.gain * x)

    def update(self, state, drive):
        return self.inner.update(state, drive)

    def readout(self, state, drive):
        return self.inner.readout(state, drive)


CELLS = {
    "LSTM": lambda: seqmem.LSTM(INPUT, HIDDEN, key=KEY),
    "MinGRU": lambda: seqmem.MinGRU(INPUT, HIDDEN, key=KEY),
    "LRU": lambda: seqmem.LRU(INPUT, HIDDEN, key=KEY),
    "MGU": lambda: seqmem.MGU(INPUT, HIDDEN, key=KEY),
    "RetNet": lambda: seqmem.RetNet(INPUT, HIDDEN + 1, num_heads=2, key=KEY),
    "GRU, a mask per example": lambda: seqmem.with_variational_dropout(
        seqmem.GRU(INPUT, HIDDEN, key=KEY), 0.3, (8,), key=KEY
    ),
    "RNN, a gain per example": lambda: WithGain(
        seqmem.RNN(INPUT, HIDDEN, key=KEY), seqmem.PerExample(jnp.linspace(0.5, 2.0, 8))
    ),
}
QUICK = {"MinGRU", "RNN, a gain per example"}


def weight_gradient(cell, xs):
    def loss(cell):
        return (seqmem.unroll(cell, None, xs, method=seqmem.Scan(tile=4))[1] ** 2).sum()

    return jax.grad(loss)(cell)


def carried_by_the_tile_loop(axis_type, batch, spec):
    """The shapes that the backward loop over tiles carries, for 4 devices."""
    mesh = AbstractMesh((4,), ("data",), axis_types=(axis_type,))
    sharding = NamedSharding(mesh, spec)
    xs = jax.ShapeDtypeStruct((TIME, batch, INPUT), np.float32, sharding=sharding)
    return lowered(weight_gradient, CELLS["LSTM"](), xs, platform="cpu").inner[-1].carried


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_loop_over_tiles_carries_one_weight_gradient_per_share(axis_type):
    carried = carried_by_the_tile_loop(axis_type, 8, P(None, "data"))
    assert (4, 4, HIDDEN, HIDDEN) in carried
    assert (4, HIDDEN, HIDDEN) not in carried


@pytest.mark.parametrize(("axis_type", "batch"), [(AxisType.Auto, 7), (AxisType.Explicit, 8)])
def test_batch_that_is_not_spread_over_devices_is_one_share(axis_type, batch):
    assert (4, HIDDEN, HIDDEN) in carried_by_the_tile_loop(axis_type, batch, P())


def test_batch_is_spread_over_automatic_axes_and_those_that_it_names():
    mesh = AbstractMesh((3, 5), ("rows", "columns"), axis_types=(AxisType.Auto, AxisType.Explicit))
    assert num_shares(mesh, P(None, None), (6,)) == 3
    assert num_shares(mesh, P(None, "columns"), (30, 7)) == 15
    assert num_shares(mesh, P(None, "columns"), (25,)) == 1  # 15 does not divide it
    assert num_shares(mesh, P(None), ()) == 1
    assert num_shares(None, P(None, None), (6,)) == 1


def gradients_in_shares(cell, xs, options, shares):
    """Of parameters, initial states and inputs."""

    def loss(cell, state, xs):
        run = Run(cell, state, xs, options.get("lengths"), None, options.get("resets"), None)
        method = options.get("method", seqmem.Scan(tile=5))
        solution = evaluate(run, method, False, False, shares)
        leaves = jax.tree.leaves((solution.state, solution.outputs))
        return sum(jnp.sum(jnp.sin(jnp.abs(leaf))) for leaf in leaves)

    state = jax.tree.map(lambda leaf: leaf + 0.3, cell.init_state(*xs.shape[1:-1]))
    return jax.jit(jax.grad(loss, (0, 1, 2)))(cell, state, xs)


def in_float64(tree):
    return seqmem.as_precision(tree, jnp.dtype(jnp.float64))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", slow_but(QUICK, CELLS))
def test_gradients_in_shares_are_those_of_the_whole_batch(name):
    rng = np.random.default_rng(0)
    options = {"lengths": rng.integers(0, TIME + 1, 8), "resets": rng.random((TIME, 8)) < 0.2}
    cell, xs = in_float64(CELLS[name]()), normal(TIME, 8, INPUT)
    got, want = (gradients_in_shares(cell, xs, options, shares) for shares in (4, 1))
    close(got, want)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_shares_are_of_the_first_of_two_batch_axes():
    cell, xs = in_float64(CELLS["LSTM"]()), normal(TIME, 4, 3, INPUT)
    got, want = (gradients_in_shares(cell, xs, {}, shares) for shares in (2, 1))
    close(got, want)


def test_tiles_are_those_of_a_share():
    cell = CELLS["MGU"]()

    def sizes(batch, shares):
        xs = jnp.zeros((TIME, batch, INPUT))
        init, state = cell.init_state(), cell.init_state(batch)
        return tile_sizes_of(Problem(cell, init, state, xs, batch_axes=1, shares=shares))

    assert sizes(1024, 4) == sizes(256, 1) != sizes(1024, 1)
