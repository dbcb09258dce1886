"""Mixed precision: bfloat16 computation with float32 parameters."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqmem import training
from tests.helpers.training_losses import (
    as_float32,
    assert_same_bits,
    batch_for,
    loss,
    make_cell,
    state_for,
)

TIME = 7


def rounded(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)


def test_mixed_precision_gradient_has_the_bits_of_the_rounded_model():
    cell = make_cell("LSTM")
    args = state_for(cell), as_float32(batch_for(cell, TIME))
    gradient = training.TruncatedBPTT(training.mixed_precision(loss), TIME)
    result = jax.jit(gradient)(cell, *args)
    expected = jax.jit(training.TruncatedBPTT(loss, TIME))(rounded(cell), *args)
    assert_same_bits(result.total, expected.total)
    assert_same_bits(result.carry, expected.carry)
    as_float32_arrays = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), expected.grads)
    assert_same_bits(result.grads, as_float32_arrays)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((result.grads, result.carry))}
    assert dtypes == {np.dtype("float32")}
    program = jax.jit(gradient).lower(cell, *args).as_text()
    assert re.search(r"dot_general.*bf16", program)


@pytest.mark.slow
def test_float32_parameters_take_steps_that_bfloat16_ones_round_away():
    cell, optimiser = make_cell("GRU"), optax.sgd(1e-4)
    batch, state = as_float32(batch_for(cell, TIME)), state_for(cell)

    def changed_share(cell, loss):
        """The share of the recurrent weights that 40 small steps change."""
        gradient = training.TruncatedBPTT(loss, TIME)
        step = training.make_step(gradient, optimiser)
        run = training.begin_training(cell, optimiser, gradient.init_carry(state, batch))
        for _ in range(40):
            run, metrics = step(run, batch)
            assert not int(metrics["skipped"])
        assert run.model.U.dtype == cell.U.dtype
        return float(np.mean(np.asarray(run.model.U) != np.asarray(cell.U)))

    assert changed_share(cell, training.mixed_precision(loss)) > 0.9
    assert changed_share(rounded(cell), loss) < 0.1
