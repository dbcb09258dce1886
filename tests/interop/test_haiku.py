"""The recurrent cores of Haiku and ours with their weights compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.interop import from_haiku, to_haiku
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
    "haiku LSTM": seqmem.LSTM,
    "haiku GRU": seqmem.ResetBeforeGRU,
    "haiku VanillaRNN": seqmem.RNN,
    "haiku VanillaRNN of one bias": seqmem.RNN,
}

pytestmark = pytest.mark.usefixtures("float64")


def as_haiku(parameters):
    """Dicts of dicts, as `haiku.transform` makes them."""
    nested = {}
    for path, array in parameters.items():
        module, name = path.split(":")
        nested.setdefault(module, {})[name] = array
    return nested


@pytest.mark.parametrize("case", slow_but({"haiku GRU"}, CASES))
def test_core_of_haiku_matches_ours_in_outputs_states_and_gradients(case):
    parameters = reference_of(case, "param")
    assert_same_as_reference(
        lambda parameters: from_haiku(CASES[case], as_haiku(parameters)), case, parameters
    )


@pytest.mark.parametrize("case", ["haiku GRU", "haiku LSTM"])
def test_parameters_of_haiku_survive_the_round_trip(case):
    params = as_haiku(reference_of(case, "param"))
    cell = from_haiku(CASES[case], params)
    there = to_haiku(cell)
    if case == "haiku LSTM":  # the forget gate's bias is rounded where 1 is added
        bias = there["lstm/linear"].pop("b")
        np.testing.assert_allclose(bias, params["lstm/linear"].pop("b"), rtol=0, atol=3e-16)
    assert_identical(there, params)


@pytest.mark.parametrize("cell_type", CASES.values())
def test_cell_survives_the_round_trip_through_haiku(cell_type):
    options = {"activation": jax.nn.relu} if cell_type is seqmem.RNN else {}
    cell = cell_of(cell_type, **options)
    back = from_haiku(cell_type, to_haiku(cell, name="net/~/core"), name="net/~/core")
    if cell_type is seqmem.LSTM:
        np.testing.assert_allclose(back.b, cell.b, rtol=0, atol=3e-16)
        back = seqmem.with_gate(back, "forget", b=jnp.asarray(cell.b[1]))
        cell = jax.tree.map(jnp.asarray, cell)
    assert_identical(back, cell)


def test_forget_gate_of_haiku_has_one_more_than_its_bias():
    params = as_haiku(reference_of("haiku LSTM", "param"))
    params["lstm/linear"]["b"] = np.zeros(4 * HIDDEN)
    cell = from_haiku(seqmem.LSTM, params)
    assert np.all(seqmem.gate(cell, "forget").b == 1)
    assert not any(np.any(seqmem.gate(cell, name).b) for name in ("input", "cell", "output"))


def test_core_is_found_by_name_among_other_modules():
    params = as_haiku(reference_of("haiku GRU", "param"))
    params = {"net/~/gru_1": params["gru"], "net/~/linear": {"w": np.ones((5, 2))}}
    cell = from_haiku(seqmem.ResetBeforeGRU, params, name="net/~/gru_1")
    assert_identical(to_haiku(cell, name="net/~/gru_1")["net/~/gru_1"], params["net/~/gru_1"])


LSTM = as_haiku(reference_of("haiku LSTM", "param"))


@pytest.mark.parametrize(
    ("cell_type", "params", "options", "came"),
    [
        (seqmem.GRU, LSTM, {}, "from_haiku got a cell of type GRU."),
        (seqmem.RNN, LSTM, {}, "parameters of the modules ['lstm/linear']."),
        (seqmem.LSTM, LSTM, {"name": "lstm_1"}, "parameters of the modules ['lstm/linear']."),
        (seqmem.LSTM, {"lstm/linear": {"w": np.ones((8, 20))}}, {}, "names ['linear.w']"),
        (seqmem.LSTM, {"lstm/linear": {"w": np.ones((8, 18)), "b": np.ones(20)}}, {}, "linear.w"),
        (seqmem.LSTM, {"lstm": LSTM["lstm/linear"]}, {}, "names ['b', 'w']"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(cell_type, params, options, came):
    assert_refused(came, from_haiku, cell_type, params, **options)


def test_cell_that_haiku_does_not_have_is_refused():
    assert_refused("to_haiku got a cell of type GRU.", to_haiku, cell_of(seqmem.GRU))
    assert_refused("an RNN with activation", to_haiku, cell_of(seqmem.RNN, activation=jnp.sin))
    rnn = cell_of(seqmem.RNN, output_size=2, activation=jax.nn.relu)
    assert_refused("an RNN with an output size.", to_haiku, rnn)
