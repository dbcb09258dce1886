"""Micro-batches against the whole batch."""

import jax
import numpy as np
import pytest

import seqmem
from seqmem import training
from tests.helpers.slow import slow
from tests.helpers.training_losses import (
    assert_close,
    batch_for,
    jitted,
    loss,
    make_cell,
    state_for,
)

pytestmark = pytest.mark.usefixtures("float64")


def make_case(name, gradient):
    """Arguments for ten sequences of different lengths, and the gradient by five micro-batches."""
    cell = make_cell(name)
    batch, lengths = batch_for(cell, 12, batch=10), np.arange(10) + 3
    carry = gradient.init_carry(state_for(cell, batch=10), batch, lengths)
    return (cell, carry, batch, lengths), training.MicroBatched(gradient, 5)


@pytest.mark.parametrize(
    "name", ["LSTM", slow("S6"), slow("GatedDeltaRule"), slow("CausalConv"), slow("Stack")]
)
@pytest.mark.parametrize(("window", "stride"), [(6, None), slow(6, 3)])
def test_micro_batched_gradient_equals_that_of_the_whole_batch(name, window, stride):
    gradient = training.TruncatedBPTT(loss, window, stride, flow=True)
    args, micro_batched = make_case(name, gradient)
    whole, result = jitted(gradient)(*args), jitted(micro_batched)(*args)
    assert_close(result, whole)
    assert_close(result.mean_grads, whole.mean_grads)


def test_micro_batches_count_by_their_valid_steps():
    gradient = training.TruncatedBPTT(loss, 6, flow=True)
    args, micro_batched = make_case("LSTM", gradient)
    cell, carry, batch, _ = args
    lengths = np.array([12, 1, 1, 1, 1] * 2)  # the first micro-batch has 24 steps, the others 2
    result = jitted(micro_batched)(cell, carry, batch, lengths)
    total, weight, _ = jax.jit(loss)(cell, carry, batch, lengths)
    assert weight == lengths.sum() == 32
    assert_close(result.value, total / 32)


def test_micro_batches_of_bfloat16_gradients_are_summed_in_float32():
    # 2¹¹ equal terms: in bfloat16 a sum of ones stays at 256.
    with jax.enable_x64(False):
        cell = jax.tree.map(np.zeros_like, make_cell("RNN"))
        cell = jax.tree.map(jax.numpy.asarray, cell)

        def total(cell, state, xs):
            state, ys = seqmem.unroll(cell, state, xs)
            return ys.sum(), ys.size, state

        gradient = training.TruncatedBPTT(training.mixed_precision(total), 1)
        result = jax.jit(training.MicroBatched(gradient, 8))(
            cell, np.zeros((8, 5), np.float32), np.ones((256, 8, 2), np.float32)
        )
        np.testing.assert_array_equal(result.grads.b, np.full(5, 2048.0))
