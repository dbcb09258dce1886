"""Real-time recurrent learning against backpropagation through time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.gradients import RTRL
from seqmem.layers import Stack

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def lru_axes(cell):
    axes = jax.tree.map(lambda _: 0, cell)
    return eqx.tree_at(lambda tree: (tree.B, tree.C, tree.D), axes, (1, None, None))


MADE = {
    "RNN": lambda: (seqmem.RNN(3, 5, 2, key=KEY), None),
    "LSTM": lambda: (seqmem.LSTM(3, 5, key=KEY), None),
    "GRU": lambda: (seqmem.GRU(3, 5, key=KEY), None),
    "MGU": lambda: (seqmem.MGU(3, 5, key=KEY), None),
    "MinGRU": lambda: (seqmem.MinGRU(3, 5, key=KEY), None),
    "MinGRU owned": lambda: (seqmem.MinGRU(3, 5, key=KEY), 1),
    "LRU": lambda: (seqmem.LRU(3, 5, key=KEY), None),
    "LRU owned": lambda: (lru := seqmem.LRU(3, 5, key=KEY), lru_axes(lru)),
    "IndRNN owned": lambda: (seqmem.IndRNN(3, 5, activation=jnp.tanh, key=KEY), 0),
    "Stack": lambda: (
        Stack([seqmem.GRU(3, 5, key=KEY), seqmem.LRU(5, 2, key=KEY)]),
        None,
    ),
    "learned": lambda: (
        seqmem.with_learned_state(seqmem.GRU(3, 5, key=KEY), jnp.linspace(0.1, 0.7, 5)),
        None,
    ),
    "learned owned": lambda: (
        learned := seqmem.with_learned_state(
            seqmem.MinGRU(3, 5, key=KEY), jnp.linspace(0.1, 0.7, 5)
        ),
        eqx.tree_at(lambda tree: tree.modifier.learned, jax.tree.map(lambda _: 1, learned), 0),
    ),
}


def made(name):
    cell, owned = MADE[name]()
    return cell, RTRL(cell, owned)


def close(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", MADE)
def test_the_sum_over_steps_is_the_gradient_through_time(name):
    cell, online = made(name)
    xs = jax.random.normal(jax.random.key(1), (7, 3))
    weights = jax.random.normal(jax.random.key(2), (7, 1))

    def loss(cell):
        return jnp.sum(weights * seqmem.unroll(cell, cell.init_state(), xs)[1] ** 2)

    @jax.jit
    def step(state, total, x, weight):
        state, y = online(state, x)
        found = online.output_gradient(state, x, 2 * weight * y)
        return state, jax.tree.map(jnp.add, total, found)

    state, total = online.init_state(), jax.tree.map(jnp.zeros_like, cell)
    for x, weight in zip(xs, weights, strict=True):
        state, total = step(state, total, x, weight)
    close(total, jax.grad(loss)(cell))


@pytest.mark.parametrize("name", ["LRU owned", "learned", "learned owned"])
def test_lengths_and_resets_of_a_batch_are_those_of_the_trace(name):
    cell, online = made(name)
    xs = jax.random.normal(jax.random.key(1), (7, 2, 3))
    options = {
        "lengths": jnp.array([7, 4]),
        "resets": jnp.zeros((7, 2), bool).at[3, 0].set(True),
    }

    def loss(cell):
        state, _ = seqmem.unroll(cell, cell.init_state(), xs, **options)
        return jnp.sum(state.real**2 + 3 * state.imag)

    state, _ = seqmem.unroll(online, online.init_state(), xs, **options)
    towards = jax.grad(lambda s: jnp.sum(s.real**2 + 3 * s.imag))(state.state)
    found = jax.tree.map(lambda g: g.sum(0), jax.vmap(online.gradient)(state, towards))
    close(found, jax.grad(loss)(cell))


def test_an_owned_trace_needs_no_array_larger_than_the_parameters():
    cell = seqmem.LRU(11, 13, key=KEY)
    size = sum(leaf.size for leaf in jax.tree.leaves(cell))

    def largest(online):
        program = jax.make_jaxpr(online)(online.init_state(), jnp.ones(11))
        return max(v.aval.size for eqn in program.jaxpr.eqns for v in eqn.outvars)

    assert largest(RTRL(cell, lru_axes(cell))) <= size < largest(RTRL(cell))


@pytest.mark.parametrize("name", ["LRU owned", "MinGRU owned", "IndRNN owned"])
def test_ownership_holds_by_numbers(name):
    cell, owned = MADE[name]()
    online, full = RTRL(cell, owned), RTRL(cell)
    xs = jax.random.normal(jax.random.key(1), (3, 3))
    short, _ = seqmem.unroll(online, online.init_state(), xs)
    long, _ = seqmem.unroll(full, full.init_state(), xs)
    for axis, own, whole in zip(online.axes, short.trace, long.trace, strict=True):
        if axis is None:
            assert own is None
            assert not whole.any()
        else:
            for unit in range(5):
                place = (slice(None),) * axis + (unit,)
                only = jnp.zeros_like(own).at[place].set(own[place])
                close(whole[unit], only)


@pytest.mark.parametrize("owned", [0, 2, 7])
def test_an_axis_that_does_not_count_units_is_refused(owned):
    with pytest.raises(ValueError, match=r"(?s)axis.*Expected:.*What to do:"):
        RTRL(seqmem.MinGRU(3, 5, key=KEY), owned)


def test_units_of_two_states_are_refused():
    with pytest.raises(ValueError, match=r"(?s)owned.*Expected:.*What to do:"):
        RTRL(seqmem.LSTM(3, 5, key=KEY), 1)


def test_a_tree_that_is_not_the_cells_is_refused():
    with pytest.raises(ValueError, match=r"(?s)owned.*Expected:.*What to do:"):
        RTRL(seqmem.MinGRU(3, 5, key=KEY), {"W": 1})


class Counter(seqmem.AbstractCell):
    """A state with a counter in it, which has no derivative."""

    def init_state(self):
        return jnp.zeros(5), jnp.zeros((), jnp.int32)

    def project(self, x):
        return x

    def update(self, state, drive):
        return state[0] + drive.sum(), state[1] + 1

    def readout(self, state, drive):
        return state[0]


def test_a_state_that_counts_is_refused():
    with pytest.raises(ValueError, match=r"(?s)state.*Expected:.*What to do:"):
        RTRL(Counter())


@pytest.mark.slow
def test_it_is_a_cell():
    seqmem.testing.check_cell(
        RTRL(seqmem.MinGRU(2, 3, key=KEY), 1), methods=[seqmem.ReferenceScan()]
    )
