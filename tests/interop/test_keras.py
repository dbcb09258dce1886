"""The recurrent layers of Keras and ours with their weights compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.interop import from_keras, to_keras
from tests.helpers.interop import (
    HIDDEN,
    as_keras,
    assert_identical,
    assert_same_as_reference,
    cell_of,
    reference_of,
)
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but

# our cell for each case of tests/reference/make_interop.py
CASES = {
    "keras SimpleRNN": seqmem.RNN,
    "keras LSTM": seqmem.LSTM,
    "keras GRU": seqmem.GRU,
    "keras GRU, reset before": seqmem.ResetBeforeGRU,
    "keras GRU, bidirectional": seqmem.GRU,
    "keras GRU without biases": seqmem.GRU,
}

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("case", slow_but({"keras GRU"}, CASES))
def test_layer_of_keras_matches_ours_in_outputs_states_and_gradients(case):
    assert_same_as_reference(
        lambda parameters: from_keras(CASES[case], as_keras(parameters)),
        case,
        reference_of(case, "param"),
    )


@pytest.mark.parametrize("cell_type", [seqmem.RNN, seqmem.LSTM, seqmem.GRU, seqmem.ResetBeforeGRU])
def test_cell_survives_the_round_trip_through_keras(cell_type):
    cell = cell_of(cell_type)
    assert_identical(from_keras(cell_type, to_keras(cell)), cell)
    pair = seqmem.layers.Bidirectional(cell, jax.tree.map(np.negative, cell))
    assert_identical(from_keras(cell_type, to_keras(pair)), pair)


@pytest.mark.parametrize("case", ["keras LSTM", "keras GRU, reset before"])
def test_weights_of_keras_survive_the_round_trip(case):
    weights = reference_of(case, "param")
    there = to_keras(from_keras(CASES[case], weights))
    assert list(there) == ["kernel", "recurrent_kernel", "bias"]  # the order of set_weights
    assert_identical(there, weights)


def test_gates_of_a_gru_of_keras_are_found_by_name():
    weights = reference_of("keras GRU", "param")
    cell = from_keras(seqmem.GRU, weights)
    for place, name in enumerate(("update", "reset", "candidate")):
        columns = slice(place * HIDDEN, (place + 1) * HIDDEN)
        np.testing.assert_array_equal(seqmem.gate(cell, name).W, weights["kernel"][:, columns].T)
    np.testing.assert_array_equal(cell.c, weights["bias"][1, 2 * HIDDEN :])


def test_activation_is_that_of_the_layer():
    weights = reference_of("keras SimpleRNN", "param")
    assert from_keras(seqmem.RNN, weights, activation=jax.nn.relu).activation is jax.nn.relu


GRU = reference_of("keras GRU", "param")
BEFORE = reference_of("keras GRU, reset before", "param")


@pytest.mark.parametrize(
    ("cell_type", "weights", "options", "came"),
    [
        (seqmem.MGU, GRU, {}, "from_keras got a cell of type MGU."),
        (seqmem.GRU, BEFORE, {}, "bias is float64 of shape (15,)."),
        (seqmem.ResetBeforeGRU, GRU, {}, "bias is float64 of shape (2, 15)."),
        (seqmem.LSTM, GRU, {}, "bias is float64 of shape (2, 15)."),
        (seqmem.LSTM, BEFORE, {}, "kernel has shape (3, 15)."),
        (seqmem.GRU, {"kernel": GRU["kernel"]}, {}, "names ['kernel']"),
        (seqmem.GRU, {"forward_layer": GRU}, {}, "names ['forward_layer.bias'"),
        (seqmem.GRU, list(GRU.values()), {}, "parameters of type list."),
        (seqmem.GRU, GRU, {"activation": jnp.sin}, "from_keras got activation="),
    ],
)
def test_weights_that_do_not_fit_are_refused(cell_type, weights, options, came):
    assert_refused(came, from_keras, cell_type, weights, **options)


def test_cell_that_keras_does_not_have_is_refused():
    pair = seqmem.layers.Bidirectional
    gru, rnn = cell_of(seqmem.GRU), cell_of(seqmem.RNN)
    readout, sine = cell_of(seqmem.RNN, output_size=2), cell_of(seqmem.RNN, activation=jnp.sin)
    assert_refused("to_keras got a cell of type MGU.", to_keras, cell_of(seqmem.MGU))
    assert_refused("an RNN with an output size.", to_keras, pair(readout, rnn))
    assert_refused("to_keras got a Bidirectional of ['GRU'", to_keras, pair(gru, rnn))
    assert_refused("to_keras got a Bidirectional of ['RNN'", to_keras, pair(rnn, sine))
