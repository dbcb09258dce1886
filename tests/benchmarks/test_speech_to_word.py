"""Spoken digits: features, augmentation, batches, padding, and the job on two tones."""

import sys
import wave

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the figures need matplotlib")

from benchmarks.jobs import speech_features, speech_model, speech_to_word
from seqmem import data


def make_clips(count, seed=0):
    """Two words: a low tone and a high tone, with noise."""
    rng = np.random.default_rng(seed)
    digits = np.arange(count) % 2
    lengths = rng.integers(900, 1500, count)
    waveforms = tuple(
        (0.3 * np.sin((0.3 + 0.9 * digit) * np.arange(n)) + rng.normal(0, 0.1, n)).astype("f4")
        for digit, n in zip(digits, lengths, strict=True)
    )
    return data.SpokenDigits(waveforms, digits, np.array(["ann"] * count), np.arange(count))


def test_features_do_not_depend_on_loudness():
    quiet = make_clips(7)
    loud = data.SpokenDigits(
        tuple(4 * waveform for waveform in quiet.waveforms),
        quiet.digits,
        quiet.speakers,
        quiet.takes,
    )
    for a, b in zip(
        *(part.clips for part in speech_features.features_of(quiet, loud)), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=2e-3)


def test_training_features_have_mean_0_and_deviation_1_in_each_band():
    training, _ = speech_features.features_of(make_clips(7), make_clips(5, seed=1))
    frames = np.concatenate(training.clips)
    np.testing.assert_allclose(frames.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std(0), 1, atol=1e-5)


def test_augment_stays_within_its_bounds_and_copies_the_clip():
    clip = np.random.default_rng(0).normal(2, 0.1, (40, 30)).astype(np.float32)
    before, lengths = clip.copy(), []
    for seed in range(50):
        augmented = speech_features.augment(clip, np.random.default_rng(seed))
        lengths.append(len(augmented))
        is_masked = augmented == 0
        assert is_masked.all(1).sum() <= 0.2 * len(augmented)
        assert is_masked.all(0).sum() <= 6
        assert is_masked.sum() == (is_masked.all(1)[:, None] | is_masked.all(0)).sum()
    np.testing.assert_array_equal(clip, before)
    assert 32 <= min(lengths) < 36 < 46 < max(lengths) <= 50


def test_training_batches_depend_on_key_and_position_and_hold_every_clip():
    features = speech_features.features_of(make_clips(37))[0]
    batches, epoch = speech_features.training_batches(features)
    again, _ = speech_features.training_batches(features)
    key, count = jax.random.key(0), 0
    for position in reversed(range(epoch)):
        jax.tree.map(np.testing.assert_array_equal, batches(key, position), again(key, position))
        (xs, words), lengths = batches(key, position)
        assert (lengths <= len(xs)).all()
        assert words.shape == xs.shape[:2]
        count += (lengths > 0).sum()
    assert count == 37


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LSTM", "BiLSTM"])
def test_word_model_reads_neither_padding_nor_other_examples(name):
    model = speech_model.WordModel(name, 3, key=jax.random.key(0))
    clips = [np.random.default_rng(n).normal(size=(n, 40)).astype("f4") for n in (5, 2, 7)]
    batch = data.Batch(np.array([0, 1, 2, data.NO_EXAMPLE]), 11)
    together = model(*data.pad_batch(clips, batch))
    assert jnp.isfinite(together).all()
    for i, clip in enumerate(clips):
        alone = model(clip[:, None], jnp.array([len(clip)]))
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)


@pytest.mark.slow
def test_loss_of_an_unused_place_is_0():
    model = speech_model.WordModel("RNN", 3, key=jax.random.key(0))
    xs = np.random.default_rng(0).normal(size=(5, 2, 40)).astype("f4")
    words = np.broadcast_to(np.array([2, 1], np.int32), (5, 2))
    total, weight, _ = speech_model.loss(model, (), (xs, words), jnp.array([5, 0]))
    expected, _, _ = speech_model.loss(model, (), (xs[:, :1], words[:, :1]), jnp.array([5]))
    assert int(weight) == 1
    np.testing.assert_allclose(total, expected, rtol=1e-5)


@pytest.mark.slow
def test_scores_are_those_of_the_logits():
    features = speech_features.features_of(make_clips(13))[0]
    model = speech_model.WordModel("RNN", 2, key=jax.random.key(0))
    logits = np.stack([model(c[:, None], jnp.array([len(c)]))[0] for c in features.clips])
    scores = speech_model.scores(model, features)
    assert scores["accuracy"] == pytest.approx((logits.argmax(-1) == features.words).mean())
    probabilities = np.exp(logits)[np.arange(13), features.words] / np.exp(logits).sum(-1)
    assert scores["loss"] == pytest.approx(-np.log(probabilities).mean(), abs=1e-5)


def write_two_words(path):
    """A data folder with 40 clips of two words by two speakers."""
    folder = path / "spoken_digits"
    folder.mkdir(parents=True)
    for speaker in ("george", "theo"):
        for digit in (0, 1):
            clips = make_clips(40, seed=digit).select(make_clips(40).digits == digit)
            for take, waveform in enumerate(clips.waveforms):
                with wave.open(str(folder / f"{digit}_{speaker}_{take}.wav"), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(8000)
                    file.writeframes((16384 * waveform).astype("<i2").tobytes())


@pytest.mark.slow
def test_speech_to_word_learns_two_tones(tmp_path, monkeypatch, capsys):
    write_two_words(tmp_path / "data")
    monkeypatch.setenv("SEQMEM_DATA", str(tmp_path / "data"))
    options = "--cells LRU --seeds 1 --epochs 40 --speakers theo --devices 1"
    monkeypatch.setattr(sys, "argv", ["x", *options.split(), "--out", str(tmp_path)])
    monkeypatch.setattr("benchmarks.jobs.speech_figure.CLIP_WORD", 1)
    speech_to_word.main()
    assert "theo 100.0" in capsys.readouterr().out
    suffixes = {path.suffix for path in tmp_path.glob("speech_to_word_cpu.*")}
    assert suffixes == {".json", ".md", ".csv", ".png"}
    assert str(tmp_path) not in (tmp_path / "speech_to_word_cpu.md").read_text()
