"""One step of the training of a language model."""

import jax
import numpy as np
import optax
import pytest

import seqmem
from seqmem import models

TOKENS, SIZE, HIDDEN, TIME, BATCH = 11, 3, 5, 7, 2
LEARNING_RATE = 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("cell_type", [seqmem.RNN, seqmem.LRU])
def test_train_step_descends_along_the_gradient_of_the_mean_loss(cell_type):
    keys, optimiser = jax.random.split(jax.random.key(0)), optax.sgd(LEARNING_RATE)
    model = models.LanguageModel(cell_type(SIZE, HIDDEN, key=keys[0]), TOKENS, key=keys[1])
    inputs, targets = np.random.default_rng(0).integers(0, TOKENS, (2, TIME, BATCH))
    start = model.init_state(BATCH)

    @jax.jit
    @jax.value_and_grad
    def mean_loss(model):
        logits = seqmem.unroll(model, start, inputs)[1]
        return models.token_losses(logits, targets).mean()

    before, gradient = mean_loss(model)
    new, state, _, value = models.train_step(
        model, start, optimiser.init(model), inputs, targets, optimiser=optimiser
    )
    np.testing.assert_allclose(value, before, rtol=1e-6)
    expected = jax.tree.map(lambda old, d: old - LEARNING_RATE * d, model, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), new, expected)
    squares = sum(float((abs(d) ** 2).sum()) for d in jax.tree.leaves(gradient))
    np.testing.assert_allclose(before - mean_loss(new)[0], LEARNING_RATE * squares, rtol=0.1)
    final, _ = seqmem.unroll(model, start, inputs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state, final)
