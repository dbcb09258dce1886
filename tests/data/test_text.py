"""Text to ids, ids to windows, windows to a trained model."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqmem
from seqmem import tasks


def model_of(size):
    keys = jax.random.split(jax.random.key(0))
    return models.CharacterModel(seqmem.RNN(size, 5, key=keys[0]), size, key=keys[1])


def test_decoding_undoes_encoding():
    text = "Zwölf Boxkämpfer\n"
    vocabulary = data.Vocabulary.of(text)
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert sorted(set(ids.tolist())) == list(range(len(vocabulary)))


def test_unknown_characters_are_named():
    vocabulary = data.Vocabulary.of("abc")
    with pytest.raises(ValueError, match=r"'xy'(.|\n)*Expected(.|\n)*What to do"):
        vocabulary.encode("abxcyy")


def test_python_comes_with_a_text():
    text = data.read_text()
    assert 400_000 < len(text) < 600_000
    assert 90 < len(data.Vocabulary.of(text)) < 130
    assert 'The "assert" statement' in text


def test_any_file_is_a_text(tmp_path):
    path = tmp_path / "text"
    path.write_text("naïve\n", encoding="utf-8")
    assert data.read_text(path) == data.read_text(str(path)) == "naïve\n"


def test_windows_of_a_stream_continue_each_other():
    ids = np.arange(73)
    inputs, targets = data.windows(ids, time=7, batch=3)
    assert inputs.shape == targets.shape == (3, 7, 3)
    np.testing.assert_array_equal(targets, inputs + 1)
    streams = inputs.reshape(-1, 3)
    np.testing.assert_array_equal(np.diff(streams, axis=0), 1)
    np.testing.assert_array_equal(streams[0], [0, 21, 42])


def test_a_text_that_is_too_short_for_a_window_is_refused():
    data.windows(np.arange(22), time=7, batch=3)
    for arguments in [(21, 7, 3), (22, 0, 3), (22, 7, 0)]:
        length, time, batch = arguments
        with pytest.raises(ValueError, match=r"Expected(.|\n)*What to do"):
            data.windows(np.arange(length), time=time, batch=batch)


def test_a_carried_state_has_read_the_whole_stream():
    model = model_of(11)
    ids = np.random.default_rng(0).integers(0, 11, 7 * 3 * 5 + 1)
    inputs, _ = data.windows(ids, time=7, batch=3)
    state = model.init_state(3)
    for window in inputs:
        state, logits = model(state, window)
    whole, expected = model(model.init_state(3), inputs.reshape(-1, 3))
    np.testing.assert_allclose(state, whole, atol=1e-6)
    np.testing.assert_allclose(logits, expected[-7:], atol=1e-6)


def test_model_is_its_equation():
    model = model_of(11)
    ids = jnp.array([2, 7, 3])
    state, expected = model.cell.init_state(), []
    for i in ids:
        state, y = model.cell(state, jnp.eye(11)[i])
        expected.append(model.V @ y + model.b)
    final, logits = model(model.init_state(), ids)
    np.testing.assert_allclose(logits, jnp.stack(expected), atol=1e-6)
    np.testing.assert_allclose(final, state, atol=1e-6)


def test_a_cell_for_another_vocabulary_is_refused():
    cell = seqmem.GRU(11, 5, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"11(.|\n)*What to do"):
        models.CharacterModel(cell, 13, key=jax.random.key(1))


def test_a_model_that_knows_nothing_loses_the_logarithm_of_the_vocabulary():
    losses = models.character_losses(jnp.zeros((3, 7, 11)), jnp.zeros((3, 7), jnp.int32))
    np.testing.assert_allclose(losses, np.full((3, 7), np.log(11)), rtol=1e-6)


def test_a_training_step_follows_the_gradient_of_the_mean_loss():
    model, optimiser = model_of(11), optax.sgd(0.1)
    inputs, targets = np.random.default_rng(0).integers(0, 11, (2, 7, 3))
    start = model.init_state(3)

    def loss(model):
        state, logits = model(start, inputs)
        return models.character_losses(logits, targets).mean(), state

    (expected, after), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(model)
    new, state, _, value = models.train_step(
        model, start, optimiser.init(model), inputs, targets, optimiser=optimiser
    )
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(state, after, atol=1e-6)
    jax.tree.map(
        lambda a, b, d: np.testing.assert_allclose(a, b - 0.1 * d, atol=1e-6), new, model, gradient
    )


def test_a_training_step_goes_downhill_with_a_complex_state():
    keys, rate = jax.random.split(jax.random.key(0)), 1e-3
    model = models.CharacterModel(seqmem.LRU(11, 5, key=keys[0]), 11, key=keys[1])
    inputs, targets = np.random.default_rng(0).integers(0, 11, (2, 7, 3))
    start, optimiser = model.init_state(3), optax.sgd(rate)

    def loss(model):
        return models.character_losses(model(start, inputs)[1], targets).mean()

    before, gradient = jax.jit(jax.value_and_grad(loss))(model)
    new, *_ = models.train_step(
        model, start, optimiser.init(model), inputs, targets, optimiser=optimiser
    )
    steepest = rate * sum(float((abs(d) ** 2).sum()) for d in jax.tree.leaves(gradient))
    np.testing.assert_allclose(before - jax.jit(loss)(new), steepest, rtol=0.05)


def test_a_model_in_bfloat16_has_wide_logits():
    model, ids = model_of(11), jnp.array([2, 7, 3])
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model)
    _, logits = narrow(narrow.init_state(), ids)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, model(model.init_state(), ids)[1], atol=0.1)
