"""Real-time recurrent learning against backpropagation through time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import seqmem
from seqmem.gradients import RTRL
from seqmem.layers import Stack
from tests.helpers.online import (
    assert_close,
    gradient_through_time,
    sum_of_online_gradients,
)
from tests.helpers.slow import slow, slow_but

TIME, INPUT, HIDDEN = 7, 3, 5
KEY = jax.random.key(0)

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


class ComplexCell(seqmem.AbstractCell):
    """s_t = a ∘ s_{t−1} + B x_t with complex parameters, y_t = Re(c ∘ s_t)."""

    a: Array
    B: Array
    c: Array

    def __init__(self):
        self.a, self.B, self.c = (
            jnp.asarray(draw(seed, *shape) + 1j * draw(seed + 1, *shape)) / 3
            for seed, shape in ((10, (HIDDEN,)), (20, (HIDDEN, INPUT)), (30, (HIDDEN,)))
        )

    def init_state(self):
        return jnp.zeros(HIDDEN, self.a.dtype)

    def project(self, x):
        return self.B @ x.astype(self.B.dtype)

    def update(self, state, drive):
        return self.a * state + drive

    def readout(self, state, drive):
        return (self.c * state).real


class CountingCell(seqmem.AbstractCell):
    """A state with a counter, which has no derivative."""

    def init_state(self):
        return jnp.zeros(5), jnp.zeros((), jnp.int32)

    def project(self, x):
        return x

    def update(self, state, drive):
        return state[0] + drive.sum(), state[1] + 1

    def readout(self, state, drive):
        return state[0]


def axes_of_lru(cell):
    axes = jax.tree.map(lambda _: 0, cell)
    return eqx.tree_at(lambda tree: (tree.B, tree.C, tree.D), axes, (1, None, None))


def axes_of_rtu(cell):
    return eqx.tree_at(lambda tree: tree.W, jax.tree.map(lambda _: 0, cell), 1)


def axes_of_complex_cell(cell):
    return eqx.tree_at(lambda tree: tree.c, jax.tree.map(lambda _: 0, cell), None)


def axes_of_learned_state(cell):
    axes = jax.tree.map(lambda _: 1, cell)
    return eqx.tree_at(lambda tree: tree.wrapper.state, axes, 0)


def with_learned_state(cell):
    return seqmem.with_learned_state(cell, jnp.linspace(0.1, 0.7, HIDDEN))


CELLS = {
    "RNN": lambda: seqmem.RNN(INPUT, HIDDEN, output_size=2, key=KEY),
    "LSTM": lambda: seqmem.LSTM(INPUT, HIDDEN, key=KEY),
    "GRU": lambda: seqmem.GRU(INPUT, HIDDEN, key=KEY),
    "MGU": lambda: seqmem.MGU(INPUT, HIDDEN, key=KEY),
    "MinGRU": lambda: seqmem.MinGRU(INPUT, HIDDEN, key=KEY),
    "LRU": lambda: seqmem.LRU(INPUT, HIDDEN, key=KEY),
    "RTU": lambda: seqmem.RTU(INPUT, HIDDEN, key=KEY),
    "IndRNN": lambda: seqmem.IndRNN(INPUT, HIDDEN, activation=jnp.tanh, key=KEY),
    "Stack": lambda: Stack([seqmem.GRU(INPUT, HIDDEN, key=KEY), seqmem.LRU(HIDDEN, 2, key=KEY)]),
    "ComplexCell": ComplexCell,
    "learned GRU": lambda: with_learned_state(seqmem.GRU(INPUT, HIDDEN, key=KEY)),
    "learned MinGRU": lambda: with_learned_state(seqmem.MinGRU(INPUT, HIDDEN, key=KEY)),
}
UNIT_AXES = {
    "MinGRU": lambda cell: 1,
    "LRU": axes_of_lru,
    "RTU": axes_of_rtu,
    "IndRNN": lambda cell: 0,
    "ComplexCell": axes_of_complex_cell,
    "learned MinGRU": axes_of_learned_state,
}
FULL, UNITS = "full", "units"
CASES = [
    *((name, FULL) for name in CELLS if name not in ("RTU", "IndRNN", "learned MinGRU")),
    *((name, UNITS) for name in UNIT_AXES),
]
QUICK = {("MGU", FULL), ("MinGRU", UNITS), ("ComplexCell", FULL), ("ComplexCell", UNITS)}


def online_cell(name, form):
    cell = CELLS[name]()
    return cell, RTRL(cell, UNIT_AXES[name](cell) if form == UNITS else None)


@pytest.mark.parametrize(("name", "form"), slow_but(QUICK, CASES))
def test_sum_of_online_gradients_is_the_gradient_through_time(name, form):
    cell, online = online_cell(name, form)
    xs, weights = jnp.asarray(draw(1, TIME, INPUT)), jnp.asarray(draw(2, TIME, 1))
    expected = gradient_through_time(cell, xs, weights)
    assert any(np.abs(leaf).max() > 0.01 for leaf in jax.tree.leaves(expected))
    assert_close(sum_of_online_gradients(online, xs, weights), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "form"),
    slow_but(
        {("ComplexCell", UNITS), ("learned MinGRU", UNITS)},
        [
            ("ComplexCell", UNITS),
            ("learned MinGRU", UNITS),
            ("LRU", UNITS),
            ("learned GRU", FULL),
            ("ComplexCell", FULL),
        ],
    ),
)
def test_lengths_and_resets_of_a_batch_apply_to_the_trace(name, form):
    cell, online = online_cell(name, form)
    xs = draw(1, TIME, 2, INPUT)
    resets = np.zeros((TIME, 2), bool)
    resets[3, 0] = True
    options = {"lengths": np.array([TIME, 4]), "resets": resets}

    def loss_of_state(state):
        return jnp.sum(state.real**2 + 3 * state.imag)

    @jax.jit
    def gradient_through_time(cell):
        return jax.grad(lambda cell: loss_of_state(seqmem.unroll(cell, None, xs, **options)[0]))(
            cell
        )

    @jax.jit
    def online_gradient(online):
        traced, _ = seqmem.unroll(online, None, xs, **options)
        d_state = jax.grad(loss_of_state)(traced.state)
        gradients = jax.vmap(online.gradient)(traced, d_state)
        return jax.tree.map(lambda leaf: leaf.sum(0), gradients)

    assert_close(online_gradient(online), gradient_through_time(cell))


@pytest.mark.slow
def test_trace_of_units_needs_no_array_larger_than_the_parameters():
    cell = seqmem.LRU(11, 13, key=KEY)
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(cell))

    def largest_array(online):
        program = jax.make_jaxpr(online)(online.init_state(), jnp.ones(11))
        return max(v.aval.size for eqn in program.jaxpr.eqns for v in eqn.outvars)

    assert largest_array(RTRL(cell, axes_of_lru(cell))) <= num_parameters
    assert largest_array(RTRL(cell)) > num_parameters


@pytest.mark.parametrize("name", ["MinGRU", slow("LRU"), slow("IndRNN")])
def test_trace_of_units_holds_all_entries_of_the_full_trace_that_are_not_zero(name):
    by_units, full = (online_cell(name, form)[1] for form in (UNITS, FULL))
    xs = draw(1, 3, INPUT)
    unit_traces, full_traces = (
        seqmem.unroll(online, None, xs)[0].trace for online in (by_units, full)
    )
    axes = by_units.trace_form.unit_axes
    for axis, unit_trace, full_trace in zip(axes, unit_traces, full_traces, strict=True):
        full_trace = full_trace.reshape(-1, HIDDEN, *full_trace.shape[1:])
        if axis is None:
            assert unit_trace is None
            assert not full_trace.any()
            continue
        for unit in range(HIDDEN):
            index = (slice(None),) * (1 + axis) + (unit,)
            expected = jnp.zeros_like(unit_trace).at[index].set(unit_trace[index])
            assert_close(full_trace[:, unit], expected)


@pytest.mark.parametrize("axis", [0, 2, 7])
def test_axis_that_does_not_count_units_is_refused(axis):
    with pytest.raises(ValueError, match=r"(?s)axis.*Expected:.*What to do:"):
        RTRL(seqmem.MinGRU(INPUT, HIDDEN, key=KEY), axis)


@pytest.mark.parametrize(
    ("cell", "unit_axes"),
    [
        (seqmem.LSTM(INPUT, HIDDEN, key=KEY), 1),
        (seqmem.MinGRU(INPUT, HIDDEN, key=KEY), {"W": 1}),
    ],
    ids=["state of two arrays", "another tree"],
)
def test_unit_axes_of_another_tree_are_refused(cell, unit_axes):
    with pytest.raises(ValueError, match=r"(?s)unit_axes.*Expected:.*What to do:"):
        RTRL(cell, unit_axes)


def test_state_with_a_counter_is_refused():
    with pytest.raises(ValueError, match=r"(?s)state.*Expected:.*What to do:"):
        RTRL(CountingCell())


@pytest.mark.slow
@pytest.mark.parametrize("form", [UNITS, FULL])
def test_rtrl_obeys_the_laws_of_a_cell(form):
    cell = seqmem.MinGRU(2, 3, key=KEY)
    online = RTRL(cell, 1 if form == UNITS else None)
    seqmem.testing.check_cell(online, methods=[seqmem.ReferenceScan()])
