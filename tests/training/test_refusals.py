"""Settings, batches and losses that gradients refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem.training import MicroBatched, TruncatedBPTT, with_burn_in
from tests.helpers.refusals import assert_refused
from tests.helpers.training_losses import batch_for, draw, loss, make_cell, state_for

pytestmark = pytest.mark.usefixtures("float64")


def run(gradient, time=8, state=None, lengths=None, **changes):
    cell = make_cell("GRU")
    batch = jax.tree.map(lambda leaf: leaf[:time], batch_for(cell, 8)) | changes
    state = state_for(cell) if state is None else state
    return gradient(cell, gradient.init_carry(state, batch, lengths), batch, lengths)


def run_returning(*result):
    """The gradient of a loss function that returns this."""
    return run(TruncatedBPTT(lambda cell, state, batch: result, 8))


def test_window_and_stride_are_checked():
    for window, stride, sentence in [
        (0, None, "window=0"),
        (2.5, None, "a whole number"),
        (3, 0, "stride=0"),
        (3, 5, "at most the window"),
        (5, 3, "divides it"),
    ]:
        assert sentence in assert_refused("TruncatedBPTT got", TruncatedBPTT, loss, window, stride)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: run(TruncatedBPTT(loss, 6, 3), 8), "a multiple of the stride"),
        (lambda: run(TruncatedBPTT(loss, 9, 3), 2), "at least 3"),
        (lambda: run(TruncatedBPTT(loss, 8), 0), "0 time steps"),
        (lambda: run(TruncatedBPTT(loss, 3), state=jnp.ones(5)), "the same tree, shapes"),
        (lambda: run(TruncatedBPTT(loss, 3), lengths=np.ones(3)), "Expected: integers"),
        (lambda: run(TruncatedBPTT(loss, 3), weights=draw(2, 7, 3)), "all of the same time"),
    ],
)
def test_time_lengths_and_state_of_a_batch_are_checked(call, sentence):
    assert sentence in assert_refused("", call)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: run_returning(1.0, None), "a tuple of 2"),
        (lambda: run_returning(np.ones(3), 1, None), "one real number"),
        (lambda: run_returning(jnp.ones((), jnp.bfloat16), 1, None), "bfloat16"),
        (lambda: run_returning(np.ones(()), np.ones(3), None), "weight"),
    ],
)
def test_result_of_a_loss_is_checked(call, sentence):
    assert sentence in assert_refused("", call)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: with_burn_in(loss, 0), "at least 1"),
        (lambda: run(TruncatedBPTT(with_burn_in(loss, 8), 8)), "longer than its burn-in"),
    ],
)
def test_burn_in_of_all_steps_or_none_is_refused(call, sentence):
    assert sentence in assert_refused("", call)


@pytest.mark.parametrize(
    ("count", "sentence"), [(0, "at least 1"), (2, "whose size 2 divides"), (5, "whose size 5")]
)
def test_micro_batches_that_do_not_divide_the_batch_are_refused(count, sentence):
    def call():
        run(MicroBatched(TruncatedBPTT(loss, 8), count))

    assert sentence in assert_refused("MicroBatched got", call)
