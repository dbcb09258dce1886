"""SnAp, e-prop and RFLO against what they are by definition."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.gradients import RFLO, RTRL, EProp, SnAp
from tests.helpers.online import (
    HIDDEN,
    INPUT,
    KEY,
    TIME,
    assert_close,
    draw,
    gradient_through_time,
    sum_of_online_gradients,
    trace_of,
)
from tests.helpers.slow import slow

pytestmark = pytest.mark.usefixtures("float64")


class Cut(seqmem.AbstractCell):
    """A gated cell whose recurrent product passes no gradient to the state."""

    cell: seqmem.AbstractGatedCell

    @property
    def input_shape(self):
        return self.cell.input_shape

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        return self.cell.project(x)

    def update(self, state, drive):
        return self.cell.gate(state, self.cell.mix(jax.lax.stop_gradient(state), drive))

    def readout(self, state, drive):
        return self.cell.readout(state, drive)


DIAGONAL = {
    "MinGRU": lambda: seqmem.MinGRU(INPUT, HIDDEN, key=KEY),
    "LRU": lambda: seqmem.LRU(INPUT, HIDDEN, key=KEY),
    "RTU": lambda: seqmem.RTU(INPUT, HIDDEN, key=KEY),
    "MinLSTM": lambda: seqmem.MinLSTM(INPUT, HIDDEN, key=KEY),
    "learned MinGRU": lambda: seqmem.with_learned_state(
        seqmem.MinGRU(INPUT, HIDDEN, key=KEY), jnp.linspace(0.1, 0.7, HIDDEN)
    ),
}


@pytest.mark.parametrize("name", ["MinGRU", *map(slow, list(DIAGONAL)[1:])])
def test_snap_1_of_a_diagonal_cell_is_the_gradient_through_time(name):
    cell = DIAGONAL[name]()
    xs, weights = draw(1, TIME, INPUT), draw(2, TIME, 1)
    expected = gradient_through_time(cell, xs, weights)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(expected))
    assert_close(sum_of_online_gradients(SnAp(cell), xs, weights), expected)


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, slow(1), slow(3)])
def test_snap_keeps_what_a_parameter_reaches_within_n_steps(n):
    """NumPy's RTRL of h_t = tanh(W x_t + U h_{t−1}), a unit reading the one before, and a mask."""
    U = np.asarray(draw(3, HIDDEN, HIDDEN)) * (np.eye(HIDDEN) + np.eye(HIDDEN, k=-1))
    cell = seqmem.RNN(INPUT, HIDDEN, key=KEY)
    cell = eqx.tree_at(lambda cell: cell.U, cell, jnp.asarray(U))
    xs = draw(1, TIME, INPUT)

    reached = np.eye(HIDDEN, dtype=bool)
    for _ in range(n - 1):
        reached |= (U != 0) @ reached
    assert not reached.all()
    h, trace = np.zeros(HIDDEN), np.zeros((HIDDEN, HIDDEN, HIDDEN))  # of U
    for x in np.asarray(xs):
        previous = h
        h = np.tanh(cell.W @ x + U @ previous)
        direct = np.einsum("i,ij,k->ijk", 1 - h**2, np.eye(HIDDEN), previous)
        trace = np.tensordot((1 - h**2)[:, None] * U, trace, 1) + direct
        trace = trace * reached[:, :, None]

    np.testing.assert_allclose(trace_of(SnAp(cell, n), xs).U, trace, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_snap_n_is_rtrl_where_everything_is_reached():
    cell = seqmem.GRU(INPUT, HIDDEN, key=KEY)
    assert type(SnAp(cell, 2).trace_form) is type(RTRL(cell).trace_form)


@pytest.mark.parametrize(
    "make",
    [
        seqmem.LSTM,
        slow(seqmem.GRU),
        slow(seqmem.AdaptiveLIF),
        slow(lambda *sizes, key: seqmem.LIF(*sizes, is_recurrent=True, key=key)),
    ],
)
def test_e_prop_is_the_gradient_with_the_recurrent_derivative_cut(make):
    cell = make(INPUT, HIDDEN, key=KEY)
    xs, weights = 2 * draw(1, TIME, INPUT), draw(2, TIME, 1)
    expected = gradient_through_time(Cut(cell), xs, weights).cell
    gradient = sum_of_online_gradients(EProp(cell), xs, weights)
    assert_close(gradient, expected)
    full = gradient_through_time(cell, xs, weights)
    assert np.abs(full.U - expected.U).max() > 1e-3


@pytest.mark.slow
def test_rflo_of_leaky_units_is_murrays_rule():
    tau = 5.0
    cell = seqmem.LeakyRNN(INPUT, HIDDEN, time_constants=tau, dt=1.0, activation=jnp.tanh, key=KEY)
    xs, errors, B = draw(1, TIME, INPUT), draw(2, TIME, HIDDEN), draw(3, HIDDEN, HIDDEN)
    online = RFLO(cell, B)

    def gradient_of_run(traced, inputs):
        x, error = inputs
        traced, _ = online(traced, x)
        return traced, online.output_gradient(traced, x, error).U

    gradient = jax.lax.scan(gradient_of_run, online.init_state(), (xs, errors))[1].sum(0)

    leak = np.exp(-1 / tau)
    h, trace, expected = np.zeros(HIDDEN), np.zeros((HIDDEN, HIDDEN)), np.zeros((HIDDEN, HIDDEN))
    for x, error in zip(np.asarray(xs), np.asarray(errors), strict=True):
        z = np.tanh(cell.W @ x + cell.U @ h)
        trace = leak * trace + (1 - leak) * np.outer(1 - z**2, h)
        h = leak * h + (1 - leak) * z
        expected += (B @ error)[:, None] * trace
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_rflo_with_the_weights_of_the_readout_is_e_prop():
    cell = seqmem.RNN(INPUT, HIDDEN, output_size=2, key=KEY)
    xs, weights = draw(1, TIME, INPUT), draw(2, TIME, 1)
    symmetric = sum_of_online_gradients(EProp(cell), xs, weights)
    assert_close(sum_of_online_gradients(RFLO(cell, cell.V.T), xs, weights), symmetric)
    other = sum_of_online_gradients(RFLO(cell, -cell.V.T), xs, weights)
    assert_close((-other.U, other.V), (symmetric.U, symmetric.V))
