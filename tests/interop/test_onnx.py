"""The recurrent nodes of ONNX and ours with their tensors compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.interop import from_onnx, to_onnx
from tests.helpers.interop import (
    HIDDEN,
    assert_identical,
    assert_same_as_reference,
    cell_of,
    reference_of,
)
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but

# our cell for each case of tests/reference/make_interop.py
CASES = {
    "onnx RNN": seqmem.RNN,
    "onnx LSTM": seqmem.LSTM,
    "onnx LSTM with peepholes": seqmem.PeepholeLSTM,
    "onnx LSTM, bidirectional": seqmem.LSTM,
    "onnx GRU": seqmem.GRU,
    "onnx GRU, reset before": seqmem.ResetBeforeGRU,
}

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("case", slow_but({"onnx LSTM with peepholes"}, CASES))
def test_node_of_onnx_matches_ours_in_outputs_states_and_gradients(case):
    assert_same_as_reference(
        lambda tensors: from_onnx(CASES[case], tensors), case, reference_of(case, "param")
    )


@pytest.mark.parametrize("cell_type", dict.fromkeys(CASES.values()), ids=lambda cell: cell.__name__)
def test_cell_survives_the_round_trip_through_onnx(cell_type):
    cell = cell_of(cell_type)
    assert_identical(from_onnx(cell_type, to_onnx(cell)), cell)
    pair = seqmem.layers.Bidirectional(cell, jax.tree.map(np.negative, cell))
    assert_identical(from_onnx(cell_type, to_onnx(pair)), pair)


def test_matrices_and_peepholes_of_onnx_survive_the_round_trip():
    tensors = reference_of("onnx LSTM with peepholes", "param")
    there = to_onnx(from_onnx(seqmem.PeepholeLSTM, tensors))
    assert there.keys() == tensors.keys()
    for name in "WRP":
        np.testing.assert_array_equal(there[name], tensors[name])
    np.testing.assert_array_equal(there["B"][0, : 4 * HIDDEN], sum(np.split(tensors["B"][0], 2)))


def test_gates_of_onnx_are_found_by_name():
    tensors = reference_of("onnx LSTM", "param")
    cell = from_onnx(seqmem.LSTM, tensors)
    for place, name in enumerate(("input", "output", "forget", "cell")):
        rows = slice(place * HIDDEN, (place + 1) * HIDDEN)
        np.testing.assert_array_equal(seqmem.gate(cell, name).U, tensors["R"][0, rows])


def test_node_without_biases_gets_zeros():
    tensors = reference_of("onnx GRU", "param")
    cell = from_onnx(seqmem.GRU, {"W": tensors["W"], "R": tensors["R"]})
    assert not np.any(cell.b)
    assert not np.any(cell.c)


LSTM = reference_of("onnx LSTM", "param")


@pytest.mark.parametrize(
    ("cell_type", "tensors", "options", "came"),
    [
        (seqmem.MGU, LSTM, {}, "from_onnx got a cell of type MGU."),
        (seqmem.PeepholeLSTM, LSTM, {}, "names ['B', 'R', 'W']"),
        (seqmem.LSTM, LSTM | {"P": np.ones((1, 15))}, {}, "names ['B', 'P', 'R', 'W']"),
        (seqmem.GRU, LSTM, {}, "W has shape (1, 20, 3)."),
        (seqmem.LSTM, LSTM | {"W": LSTM["W"][0]}, {}, "W is float64 of shape (20, 3)."),
        (seqmem.LSTM, LSTM | {"W": np.concatenate([LSTM["W"]] * 2)}, {}, "R has shape (1, 20, 5)."),
        (seqmem.LSTM, {"R": LSTM["R"]}, {}, "names ['R']"),
        (seqmem.LSTM, LSTM, {"activation": jnp.sin}, "from_onnx got activation="),
    ],
)
def test_tensors_that_do_not_fit_are_refused(cell_type, tensors, options, came):
    assert_refused(came, from_onnx, cell_type, tensors, **options)


def test_cell_that_onnx_does_not_have_is_refused():
    assert_refused("to_onnx got a cell of type MGU.", to_onnx, cell_of(seqmem.MGU))
    rnn = cell_of(seqmem.RNN, output_size=2)
    assert_refused("an RNN with an output size.", to_onnx, rnn)
