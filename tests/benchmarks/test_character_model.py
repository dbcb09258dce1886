"""The character model: its batches, its test loss, and the text that it writes."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from benchmarks.common.devices import devices_for
from benchmarks.jobs import character_model, character_training
from benchmarks.jobs.character_training import BATCH, WINDOW, Settings, Text, make_job
from seqmem import data, models


def random_text(length):
    ids = np.random.default_rng(0).integers(0, 5, length).astype(np.int32)
    return Text("random", data.Vocabulary("abcde"), ids, ids[:500])


def make_model(characters):
    keys = jax.random.split(jax.random.key(0))
    cell = seqmem.GRU(characters, 7, key=keys[0])
    return models.LanguageModel(cell, characters, bias=True, key=keys[1])


def test_load_text_reads_the_language_reference_without_shakespeare(monkeypatch, capsys):
    def refuse():
        raise ConnectionError("no connection")

    monkeypatch.setattr(data, "tiny_shakespeare", refuse)
    text = character_training.load_text()
    assert text.source == "pydoc_data.topics"
    assert "no connection" in capsys.readouterr().out
    reference = data.read_text()
    assert text.vocabulary.decode(np.concatenate([text.training, text.test])) == reference
    assert len(text.training) == len(reference) * 9 // 10


def test_batches_continue_each_other_and_start_again():
    count = 3
    text = random_text(count * WINDOW * BATCH + 1)
    settings = Settings("GRU", hidden=7, steps=20, seed=0, dtype="float32")
    batches = make_job(settings, text, devices_for(BATCH, 1)).batches
    epochs = [batches(jax.random.key(0), position) for position in range(2 * count)]
    inputs, targets = (np.concatenate(part[:count]) for part in zip(*epochs, strict=True))
    np.testing.assert_array_equal(inputs[1:], targets[:-1])
    np.testing.assert_array_equal(inputs.T.ravel(), text.training[:-1])
    for first, second in zip(epochs[:count], epochs[count:], strict=True):
        jax.tree.map(np.testing.assert_array_equal, first, second)


def test_test_loss_is_the_mean_over_whole_streams():
    model = make_model(5)
    inputs, targets = np.random.default_rng(0).integers(0, 5, (2, 23, 3)).astype(np.int32)
    loss = character_training.test_loss(model, inputs, targets, bfloat16=False)
    _, logits = seqmem.unroll(model, None, inputs)
    probabilities = np.asarray(jax.nn.softmax(logits))
    of_targets = np.take_along_axis(probabilities, targets[..., None], -1)
    np.testing.assert_allclose(loss, -np.log(of_targets).mean(), rtol=1e-5)


def test_sample_text_repeats_a_character_with_probability_one():
    model = eqx.tree_at(lambda model: model.b, make_model(5), jnp.array([0.0, 0, 0, 1e3, 0]))
    sample = character_training.sample_text(model, random_text(7), "ab", 11)
    assert sample == "ab" + 11 * "d"


@pytest.mark.slow
@pytest.mark.parametrize("compares_dtypes", [False, True])
def test_character_model_learns_that_a_letter_follows_another(
    compares_dtypes, tmp_path, monkeypatch, capsys
):
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text("abc\n" * 10_000)
    monkeypatch.setenv("SEQMEM_DATA", str(tmp_path))
    arguments = ["--hidden", "11", "--steps", "200", "--devices", "1"]
    arguments += ["--compare-dtypes"] * compares_dtypes
    monkeypatch.setattr(sys, "argv", ["character_model", *arguments, "--out", str(tmp_path)])
    character_model.main()
    output = capsys.readouterr().out
    if compares_dtypes:
        assert "bfloat16 minus float32" in output
    else:
        assert "\nabc\nabc\nabc\n" in output
    name = "character_model_dtypes" if compares_dtypes else "character_model"
    rows = (tmp_path / f"{name}_cpu.csv").read_text().splitlines()
    assert len(rows) == 1 + 5 * (6 if compares_dtypes else 1)
    assert max(float(row.split(",")[-1]) for row in rows[5::5]) < 0.2
