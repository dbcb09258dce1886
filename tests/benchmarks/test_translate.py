"""Translation, on four sentences: batches, the loss, training, and what BLEU refuses."""

import sys

import jax
import numpy as np
import pytest

from benchmarks.jobs import translate, translation_report
from benchmarks.jobs.translation_data import (
    BEGIN,
    END,
    Languages,
    Pairs,
    batch_at,
    evaluation_batches,
)
from benchmarks.jobs.translation_model import (
    Sizes,
    loss,
    make_translator,
    sum_of_losses,
    translate_sentences,
)
from benchmarks.jobs.translation_training import make_optimiser, with_learning_rate
from seqmem import data, training

ENGLISH = ("a dog runs .", "a man runs .", "a dog sees a man .", "a man .")
GERMAN = ("ein hund läuft .", "ein mann läuft .", "ein hund sieht einen mann .", "ein mann .")
SIZES = Sizes(embedding=5, hidden=7, dropout=0.0, batch=3, learning_rate=0.03)


def four_pairs() -> tuple[Languages, Pairs]:
    english, german = ([text.split() for text in side] for side in (ENGLISH, GERMAN))
    languages = Languages.from_sentences(english, german)
    return languages, languages.encode(english, german)


def test_batch_holds_both_sides_of_a_sentence_and_every_target_ends():
    _, pairs = four_pairs()
    buckets = data.Buckets.from_lengths(pairs.times, batch_size=3, num_buckets=2)
    examples = set()
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
            examples.update(matches)
            assert (target[:, i] == END).sum() == (1 if length else 0)
    assert examples == {0, 1, 2, 3}


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_loss_of_a_batch_is_the_sum_over_its_sentences():
    languages, pairs = four_pairs()
    pairs = Pairs(*(side[2:] for side in pairs))
    model = make_translator("dot", languages, SIZES, jax.random.key(0))
    buckets = data.Buckets.from_lengths(pairs.times, batch_size=3, num_buckets=1)
    total, weight = sum_of_losses(model, *batch_at(pairs, buckets)(jax.random.key(0), 0))
    expected = 0.0
    for source, target in zip(*pairs, strict=True):
        logits = model(source, np.append(np.int32(BEGIN), target[:-1]))
        log_probabilities = np.asarray(jax.nn.log_softmax(logits))
        expected -= np.take_along_axis(log_probabilities, target[:, None], 1).sum()
    np.testing.assert_allclose(total, expected, rtol=1e-12)
    assert int(weight) == sum(map(len, pairs.target))


@pytest.mark.slow
@pytest.mark.optimised
def test_translator_learns_four_sentences():
    languages, pairs = four_pairs()
    buckets = data.Buckets.from_lengths(pairs.times, batch_size=3, num_buckets=1)
    batches, optimiser = batch_at(pairs, buckets), make_optimiser(SIZES)
    step = training.make_step(
        training.TruncatedBPTT(loss, window=max(buckets.padded_lengths)), optimiser
    )
    model = make_translator("additive", languages, SIZES, jax.random.key(0))
    state = training.begin_training(model, optimiser, jax.random.key(1))
    for position in range(200):
        state, metrics = step(state, batches(jax.random.key(2), position))
    assert float(metrics["loss"]) < 0.1
    assert int(state.skipped) == 0
    translations = translate_sentences(state.model, languages, pairs.source, batch=3)
    assert translations == [" ".join(languages.target.decode(ids)) for ids in pairs.target]
    before = jax.tree.map(np.array, state.model)
    unchanged, _ = step(with_learning_rate(state, 0.0), batches(jax.random.key(2), 0))
    for a, b in zip(*map(jax.tree.leaves, (before, unchanged.model)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_evaluation_batches_hold_every_example_once():
    lengths = [3, 5, 2, 3, 7]
    batches = evaluation_batches(lengths, 2)
    examples = [i for batch in batches for i in batch.indices if i != data.NO_EXAMPLE]
    assert sorted(examples) == [0, 1, 2, 3, 4]


def test_bleu_refuses_an_empty_or_a_missing_reference():
    for translations, references in (["a", "b"], ["a", " "]), (["a"], ["a", "b"]):
        with pytest.raises(ValueError, match=r"(?s)references.*Expected: .*What to do: "):
            translation_report.bleu(translations, references)


def test_translate_names_the_extra_that_it_needs(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["translate"])
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(SystemExit, match=r"seqmem\[bench\]"):
        translate.main()
