"""Burn-in: the first steps give the state, and neither loss nor gradient."""

import jax
import numpy as np
import pytest

from seqmem import training
from tests.helpers.training_losses import assert_close, batch_for, loss, make_cell, state_for


@pytest.mark.usefixtures("float64")
def test_burn_in_state_is_constant():
    cell = make_cell("GRU")
    state, batch, lengths = state_for(cell), batch_for(cell, 11), np.array([11, 8, 4])
    gradient = training.TruncatedBPTT(training.with_burn_in(loss, 4), window=11)
    result = jax.jit(gradient)(cell, state, batch, lengths)

    first, rest = (
        jax.tree.map(lambda leaf, steps=steps: leaf[steps], batch)
        for steps in (slice(0, 4), slice(4, 11))
    )
    _, _, after_burn_in = jax.jit(loss)(cell, state, first, np.clip(lengths, 0, 4))
    rest_lengths = np.clip(lengths - 4, 0, 7)
    value_and_grad = jax.jit(jax.value_and_grad(lambda *args: loss(*args)[0]))
    expected = value_and_grad(cell, after_burn_in, rest, rest_lengths)
    assert_close((result.total, result.grads), expected)
    assert float(result.weight) == rest_lengths.sum()


@pytest.mark.usefixtures("float64")
def test_burn_in_passes_no_gradient_to_its_inputs_and_the_initial_state():
    cell = make_cell("GRU")
    batch = batch_for(cell, 11)
    batch["resets"][:] = False
    burn_in_loss = training.with_burn_in(loss, 4)

    @jax.jit
    @jax.grad
    def gradient(differentiable):
        state, xs = differentiable
        return burn_in_loss(cell, state, {**batch, "xs": xs})[0]

    state_grad, xs_grad = gradient((state_for(cell), batch["xs"]))
    assert not np.any(state_grad)
    assert not np.any(xs_grad[:4])
    assert np.all(xs_grad[4:])
