"""The translation job, on four sentences: its batches, its loss and what it refuses."""

import sys

import jax
import numpy as np
import pytest

from benchmarks.jobs import translate
from benchmarks.jobs.translation import (
    BEGIN,
    END,
    Languages,
    Pairs,
    Sizes,
    batch_at,
    batches,
    loss,
    losses,
    translations,
    translator,
)
from seqmem import data, training

ENGLISH = ("a dog runs .", "a man runs .", "a dog sees a man .", "a man .")
GERMAN = ("ein hund läuft .", "ein mann läuft .", "ein hund sieht einen mann .", "ein mann .")
SIZES = Sizes(embedding=5, hidden=7, dropout=0.0, batch=3, learning_rate=0.03)


def words(sentences):
    return [sentence.split() for sentence in sentences]


def four() -> tuple[Languages, Pairs]:
    languages = Languages.of(words(ENGLISH), words(GERMAN))
    return languages, languages.encode(words(ENGLISH), words(GERMAN))


def test_a_batch_holds_both_sides_of_a_sentence_and_every_target_ends():
    _, pairs = four()
    buckets = data.Buckets.of(pairs.times, batch=3, count=2)
    seen = set()
    for position in range(len(buckets)):
        source, target = batch_at(pairs, buckets)(jax.random.key(0), position)
        assert source.shape == target.shape == (len(source), 3)
        for i in range(3):
            length = (source[:, i] != 0).sum()
            matches = [
                k
                for k in range(4)
                if np.array_equal(source[:length, i], pairs.source[k])
                and np.array_equal(target[: len(pairs.target[k]), i], pairs.target[k])
            ]
            assert len(matches) == bool(length)
            seen.update(matches)
            assert (target[:, i] == END).sum() == (1 if length else 0)
    assert seen == {0, 1, 2, 3}


def test_the_loss_of_a_batch_is_that_of_its_sentences(float64):
    languages, pairs = four()
    pairs = Pairs(*(side[2:] for side in pairs))
    model = translator("dot", languages, SIZES, jax.random.key(0))
    buckets = data.Buckets.of(pairs.times, batch=3, count=1)
    total, weight = losses(model, *batch_at(pairs, buckets)(jax.random.key(0), 0))
    expected = 0.0
    for source, target in zip(*pairs, strict=True):
        logits = model(source, np.append(np.int32(BEGIN), target[:-1]))
        expected -= np.take_along_axis(
            np.asarray(jax.nn.log_softmax(logits)), target[:, None], 1
        ).sum()
    np.testing.assert_allclose(total, expected, rtol=1e-12)
    assert int(weight) == sum(map(len, pairs.target))


@pytest.mark.slow
@pytest.mark.optimised
def test_four_sentences_are_learned_and_translated():
    languages, pairs = four()
    buckets = data.Buckets.of(pairs.times, batch=3, count=1)
    get, adam = batch_at(pairs, buckets), translate.optimiser(SIZES)
    step = training.make_step(training.TruncatedBPTT(loss, window=max(buckets.times)), adam)
    model = translator("additive", languages, SIZES, jax.random.key(0))
    state = training.begin_training(model, adam, jax.random.key(1))
    for position in range(200):
        state, told = step(state, get(jax.random.key(2), position))
    assert float(told["loss"]) < 0.1
    assert int(state.skipped) == 0
    found = translations(state.model, languages, pairs.source, batch=3)
    assert found == [" ".join(languages.target.decode(ids)) for ids in pairs.target]
    before = jax.tree.map(np.array, state.model)
    still, _ = step(translate.with_rate(state, 0.0), get(jax.random.key(2), 0))
    for a, b in zip(*map(jax.tree.leaves, (before, still.model)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_translation_is_asked_for_once():
    lengths = [3, 5, 2, 3, 7]
    examples = [i for batch in batches(lengths, 2) for i in batch.examples if i != data.NONE]
    assert sorted(examples) == [0, 1, 2, 3, 4]


def test_an_empty_reference_is_refused_in_three_parts():
    for found, expected in (["a", "b"], ["a", " "]), (["a"], ["a", "b"]):
        with pytest.raises(ValueError, match=r"(?s)references.*Expected: .*What to do: "):
            translate.bleu(found, expected)


def test_without_sacrebleu_the_script_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["translate"])
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(SystemExit, match=r"seqmem\[bench\]"):
        translate.main()
