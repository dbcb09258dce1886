"""The recurrent cells of Equinox and ours with their weights compute the same."""

import equinox as eqx
import jax
import numpy as np
import pytest

import seqmem
from seqmem.interop import from_equinox, to_equinox
from tests.helpers.interop import (
    HIDDEN,
    INPUT,
    assert_identical,
    assert_same_function,
    cell_of,
    draw,
    draw_like,
)
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

KEY = jax.random.key(0)
MODULES = {"LSTMCell": (eqx.nn.LSTMCell, seqmem.LSTM), "GRUCell": (eqx.nn.GRUCell, seqmem.GRU)}

pytestmark = pytest.mark.usefixtures("float64")


def make_module(name, **options):
    make = MODULES[name][0]
    return draw_like(eqx.filter_eval_shape(make, INPUT, HIDDEN, key=KEY, **options))


@pytest.mark.parametrize(
    ("name", "use_bias"), [("LSTMCell", True), slow("GRUCell", True), slow("GRUCell", False)]
)
def test_cell_of_equinox_matches_ours_in_outputs_states_and_gradients(name, use_bias):
    def step(module, states, x):
        state = jax.vmap(module)(x, states if len(states) == 2 else states[0])
        states = state if isinstance(state, tuple) else (state,)
        return states, states[0]

    module = make_module(name, use_bias=use_bias)
    assert_same_function(from_equinox, step, module, 2 if name == "LSTMCell" else 1)


@pytest.mark.parametrize("name", MODULES)
def test_cell_of_equinox_survives_the_round_trip(name):
    module = jax.tree.map(jax.numpy.asarray, make_module(name))
    cell = from_equinox(module)
    assert type(cell) is MODULES[name][1]
    assert_identical(to_equinox(cell), module)


def test_module_without_biases_gets_zeros():
    cell = from_equinox(make_module("GRUCell", use_bias=False))
    assert cell.b.shape == (3, HIDDEN)
    assert not np.any(cell.b)
    assert not np.any(cell.c)


def test_module_that_does_not_fit_is_refused():
    module = make_module("LSTMCell")
    linear = eqx.filter_eval_shape(eqx.nn.Linear, 2, 3, key=KEY)
    assert_refused("from_equinox got a Linear.", from_equinox, linear)
    wrong = eqx.tree_at(lambda module: module.weight_ih, module, draw((3 * HIDDEN, INPUT)))
    assert_refused("weight_ih has shape (15, 3).", from_equinox, wrong)
    assert_refused("to_equinox got a cell of type MGU.", to_equinox, cell_of(seqmem.MGU))
