"""What `Fused` cannot run is refused, with what stands in its way."""

import jax
import jax.numpy as jnp
import pytest

import seqmem
from tests.helpers.fused import BATCH, EXACT, INPUT, KEY, TIME, lower_gradient
from tests.helpers.refusals import assert_refused
from tests.helpers.unrolling import make


class ExponentialLinear(seqmem.RNN):
    """A gate that Pallas does not compute on a TPU."""

    def gate(self, state, z):
        return jax.nn.elu(z)


def test_gate_that_pallas_does_not_compute_is_refused_on_tpu_alone():
    cell = make(ExponentialLinear)
    clause = "its gate uses expm1, which Pallas does not compute on a TPU"
    assert_refused(f"Fused cannot run ExponentialLinear: {clause}", lower_gradient, cell)
    assert EXACT.refusal(cell, jnp.ones((TIME, INPUT))) is None


class Softmax(seqmem.RNN):
    """A gate that mixes units."""

    def gate(self, state, z):
        return jax.nn.softmax(z)


class Squared(seqmem.RNN):
    """A product whose matrix depends on the state."""

    def mix(self, state, u):
        return (state * state) @ self.U.mT + u


class InputTimesState(seqmem.RNN):
    """A product whose matrix depends on the input."""

    def mix(self, state, u):
        return (u * state) @ self.U.mT + u


class TwoProducts(seqmem.LSTM):
    """Products of both parts of the state."""

    def mix(self, state, u):
        return (state.h + state.c) @ self.U.mT + u


@pytest.mark.parametrize(
    ("make_cell", "clause"),
    [
        (seqmem.MGU, "its family, 'unstructured', does not promise one product followed by gates"),
        (
            Softmax,
            "its gate does not treat units one by one: reduce_max of float32[5] to float32[]",
        ),
        (Squared, "what its state adds to the pre-activations is not one fixed product"),
        (InputTimesState, "what its state adds to the pre-activations is not one fixed product"),
        (TwoProducts, "its product reads 2 parts of the state, not one"),
        (seqmem.CoRNN, "its product reads 2 parts of the state, not one"),
        (seqmem.NonlinearRTU, "its state is float32[2, 5], not real vectors of one size"),
        (seqmem.FastRNN, "its gate reads parameters of shapes [(), ()], not one per unit"),
    ],
)
def test_cell_without_one_product_and_gates_is_refused(make_cell, clause):
    cell, xs = make(make_cell), jnp.ones((TIME, BATCH, INPUT))
    assert EXACT.refusal(cell, xs) == clause
    assert_refused(
        f"Fused cannot run {make_cell.__name__}: {clause}.",
        seqmem.unroll,
        *(cell, None, xs),
        method=EXACT,
    )


def test_layer_norm_is_refused_by_the_operation_that_mixes_units():
    cell = seqmem.with_layer_norm(make(seqmem.LSTM))
    clause = EXACT.refusal(cell, jnp.ones((TIME, INPUT)))
    assert (
        clause == "its gate does not treat units one by one: reshape of float32[4,5] to float32[20]"
    )


def test_batch_without_examples_is_refused():
    cell = make(seqmem.RNN)
    assert EXACT.refusal(cell, jnp.ones((TIME, 0, INPUT))) == "the batch has no example"
    assert EXACT.refusal(cell, jnp.ones((TIME, 1, INPUT))) is None


def test_parts_that_differ_between_examples_are_refused():
    cell = seqmem.with_variational_dropout(make(seqmem.RNN), 0.5, (BATCH,), key=KEY)
    clause = EXACT.refusal(cell, jnp.ones((TIME, BATCH, INPUT)))
    assert clause == "a part of it differs between the examples of a batch"


@pytest.mark.parametrize(
    ("method", "platform", "clause"),
    [
        (seqmem.Fused("float32"), "cpu", "there is no kernel for a CPU"),
        (seqmem.Fused(interpret=True), "cpu", "its parameters are float32, and no precision is"),
        (seqmem.Fused(), "tpu", "its parameters are float32, and no precision is given"),
    ],
)
def test_platform_and_precision_are_refused(method, platform, clause):
    cell, xs = make(seqmem.RNN), jnp.ones((TIME, BATCH, INPUT))
    with seqmem.target_platform(platform):
        assert_refused(
            f"Fused cannot run RNN: {clause}", seqmem.unroll, cell, None, xs, method=method
        )


def test_matrices_that_leave_no_room_for_a_step_are_refused_with_the_numbers():
    cell = seqmem.RNN(1, 1800, key=KEY)
    clause = EXACT.refusal(cell, jnp.ones((TIME, BATCH, 1)))
    assert clause == (
        "its matrices take 12.4 MiB, and a step of 8 examples 0.5 MiB, of the 12 MiB of fast memory"
    )


def test_unknown_precision_is_refused():
    assert_refused("Fused got precision='float16'.", seqmem.Fused, "float16")
