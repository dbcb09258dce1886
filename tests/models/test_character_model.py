"""`CharacterModel`: its equations, its states, and one step of its training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqmem
from seqmem import models

TOKENS, HIDDEN, TIME, BATCH = 11, 5, 7, 3


def make_model(cell_type=seqmem.RNN):
    keys = jax.random.split(jax.random.key(0))
    return models.CharacterModel(cell_type(TOKENS, HIDDEN, key=keys[0]), TOKENS, key=keys[1])


def tokens(*shape):
    return np.random.default_rng(0).integers(0, TOKENS, shape)


def test_character_model_matches_its_equations():
    model, ids = make_model(), jnp.array([2, 7, 3])
    state, expected = model.cell.init_state(), []
    for i in ids:
        state, y = model.cell(state, jnp.eye(TOKENS)[i])
        expected.append(model.V @ y + model.b)
    final, logits = model(None, ids)
    np.testing.assert_allclose(logits, jnp.stack(expected), atol=1e-6)
    np.testing.assert_allclose(final, state, atol=1e-6)


def test_character_model_carries_its_state_over_segments():
    model, ids = make_model(), tokens(2, TIME, BATCH)
    state = model.init_state(BATCH)
    assert jax.tree.map(jnp.shape, state) == (BATCH, HIDDEN)
    for segment in ids:
        state, logits = model(state, segment)
    final, expected = model(model.init_state(BATCH), ids.reshape(-1, BATCH))
    np.testing.assert_allclose(state, final, atol=1e-6)
    np.testing.assert_allclose(logits, expected[-TIME:], atol=1e-6)


def test_character_model_runs_a_deep_network():
    keys = jax.random.split(jax.random.key(0))
    net = seqmem.layers.deep(seqmem.GRU, TOKENS, HIDDEN, num_layers=2, key=keys[0])
    model = models.CharacterModel(net, TOKENS, key=keys[1])
    assert [leaf.shape for leaf in model.init_state(2, 3)] == [(2, 3, HIDDEN)] * 2
    _, logits = model(None, tokens(TIME, BATCH))
    assert logits.shape == (TIME, BATCH, TOKENS)


@pytest.mark.parametrize("size", [13, 0, 11.0])
def test_character_model_refuses_another_vocabulary_size(size):
    cell = seqmem.GRU(TOKENS, HIDDEN, key=jax.random.key(0))
    with pytest.raises(ValueError, match=rf"{size}(.|\n)*Expected(.|\n)*What to do"):
        models.CharacterModel(cell, size, key=jax.random.key(1))


def test_character_loss_of_equal_logits_is_the_logarithm_of_the_vocabulary_size():
    losses = models.character_losses(jnp.zeros((3, 7, 11)), jnp.zeros((3, 7), jnp.int32))
    np.testing.assert_allclose(losses, np.full((3, 7), np.log(11)), rtol=1e-6)


def test_train_step_follows_the_gradient_of_the_mean_loss():
    model, optimiser = make_model(), optax.sgd(0.1)
    inputs, targets = tokens(2, TIME, BATCH)
    start = model.init_state(BATCH)

    def loss(model):
        state, logits = model(start, inputs)
        return models.character_losses(logits, targets).mean(), state

    (expected, final), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(model)
    new, state, _, value = models.train_step(
        model, start, optimiser.init(model), inputs, targets, optimiser=optimiser
    )
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(state, final, atol=1e-6)
    jax.tree.map(
        lambda a, b, d: np.testing.assert_allclose(a, b - 0.1 * d, atol=1e-6), new, model, gradient
    )


def test_train_step_descends_with_complex_parameters():
    learning_rate = 1e-3
    model, optimiser = make_model(seqmem.LRU), optax.sgd(learning_rate)
    inputs, targets = tokens(2, TIME, BATCH)
    start = model.init_state(BATCH)

    def loss(model):
        return models.character_losses(model(start, inputs)[1], targets).mean()

    before, gradient = jax.jit(jax.value_and_grad(loss))(model)
    new, *_ = models.train_step(
        model, start, optimiser.init(model), inputs, targets, optimiser=optimiser
    )
    squares = sum(float((abs(d) ** 2).sum()) for d in jax.tree.leaves(gradient))
    np.testing.assert_allclose(before - jax.jit(loss)(new), learning_rate * squares, rtol=0.05)


def test_bfloat16_character_model_has_float32_logits():
    model, ids = make_model(), jnp.array([2, 7, 3])
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model)
    _, logits = half(None, ids)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, model(None, ids)[1], atol=0.1)
