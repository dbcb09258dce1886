"""The character model's job: what it reads, what it is tested on, and what it writes."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="no matplotlib here to draw with")

import seqmem
from benchmarks.jobs import character_model, text_model as _text_model
from benchmarks.jobs.text_model import BATCH, WINDOW, Text, job
from seqmem import data, models


def text_of(length):
    ids = np.random.default_rng(0).integers(0, 5, length).astype(np.int32)
    return Text("drawn", data.Vocabulary("abcde"), ids, ids[:500])


def model_of(characters):
    keys = jax.random.split(jax.random.key(0))
    cell = seqmem.GRU(characters, 7, key=keys[0])
    return models.CharacterModel(cell, characters, key=keys[1])


def test_without_shakespeare_python_is_read(monkeypatch, capsys):
    def refuse():
        raise ConnectionError("no way to it")

    monkeypatch.setattr(data, "tiny_shakespeare", refuse)
    text = _text_model.text_to_learn()
    assert text.source == "pydoc_data.topics"
    assert "no way to it" in capsys.readouterr().out
    whole = data.read_text()
    assert text.vocabulary.decode(np.concatenate([text.training, text.test])) == whole
    assert len(text.training) == len(whole) * 9 // 10


def test_batches_continue_each_other_and_begin_again():
    count = 3
    text = text_of(count * WINDOW * BATCH + 1)
    batches = job("GRU", 7, text, seed=0, steps=20, narrow=False).batches
    read = [batches(jax.random.key(0), position) for position in range(2 * count)]
    inputs, targets = (np.concatenate(part[:count]) for part in zip(*read, strict=True))
    np.testing.assert_array_equal(inputs[1:], targets[:-1])
    np.testing.assert_array_equal(inputs.T.ravel(), text.training[:-1])
    for a, b in zip(read[:count], read[count:], strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_test_is_of_whole_streams():
    model = model_of(5)
    inputs, targets = np.random.default_rng(0).integers(0, 5, (2, 23, 3)).astype(np.int32)
    found = _text_model.test_loss(model, inputs, targets, narrow=False)
    _, logits = model(model.init_state(3), inputs)
    chance = jax.nn.softmax(logits)
    right = np.take_along_axis(np.asarray(chance), targets[..., None], -1)
    np.testing.assert_allclose(found, -np.log(right).mean(), rtol=1e-5)


def test_a_model_writes_what_it_is_sure_of():
    model = eqx.tree_at(lambda model: model.b, model_of(5), jnp.array([0.0, 0, 0, 1e3, 0]))
    assert _text_model.spoken(model, text_of(7), "ab", 11) == "ab" + 11 * "d"


def test_what_is_written_follows_from_what_was_drawn():
    model = model_of(5)
    drawn = _text_model.continued(model, jnp.array([2, 4]), jax.random.key(3), length=7)
    ids = jnp.concatenate([jnp.array([2, 4]), drawn])
    _, logits = model(model.init_state(), ids)
    for i, key in enumerate(jax.random.split(jax.random.key(3), 7)):
        assert int(jax.random.categorical(key, logits[i + 1])) == int(drawn[i])


@pytest.mark.slow
@pytest.mark.parametrize("compared", [False, True])
def test_the_job_learns_that_a_letter_follows_another(compared, tmp_path, monkeypatch, capsys):
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text("abc\n" * 10_000)
    monkeypatch.setenv("SEQMEM_DATA", str(tmp_path))
    words = ["x", "--hidden", "11", "--steps", "200"] + ["--compare-dtypes"] * compared
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path)])
    character_model.main()
    told = capsys.readouterr().out
    if compared:
        assert "bfloat16 minus float32" in told
    else:
        assert "\nabc\nabc\nabc\n" in told
    name = "character_model_dtypes" if compared else "character_model"
    rows = (tmp_path / f"{name}_cpu.csv").read_text().splitlines()
    assert len(rows) == 1 + 5 * (6 if compared else 1)
    assert max(float(row.split(",")[-1]) for row in rows[5::5]) < 0.2
