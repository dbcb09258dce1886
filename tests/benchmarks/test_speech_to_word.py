"""Speech to one word: what is heard, what is varied, and what a model makes of padding."""

import sys
import wave

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="no matplotlib here to draw with")

from benchmarks.jobs import speech_to_word, words as _words
from seqmem import data


def clips_of(count, seed=0):
    """Two words: a low tone and a high one, in noise."""
    draw = np.random.default_rng(seed)
    digits = np.arange(count) % 2
    lengths = draw.integers(900, 1500, count)
    sounds = tuple(
        (0.3 * np.sin((0.3 + 0.9 * digit) * np.arange(n)) + draw.normal(0, 0.1, n)).astype("f4")
        for digit, n in zip(digits, lengths, strict=True)
    )
    return data.SpokenDigits(sounds, digits, np.array(["ann"] * count), np.arange(count))


def test_a_clip_is_heard_alike_at_any_loudness():
    quiet = clips_of(7)
    loud = data.SpokenDigits(
        tuple(4 * sound for sound in quiet.sounds), quiet.digits, quiet.speakers, quiet.takes
    )
    first, second = _words.frames_of(quiet, loud)
    for a, b in zip(first.clips, second.clips, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)


def test_what_is_trained_on_has_mean_0_and_deviation_1_in_each_band():
    training, _ = _words.frames_of(clips_of(7), clips_of(5, seed=1))
    every = np.concatenate(training.clips)
    np.testing.assert_allclose(every.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(every.std(0), 1, atol=1e-5)


def test_a_clip_is_varied_within_bounds_and_stays_as_it_was():
    clip = np.random.default_rng(0).normal(2, 0.1, (40, 30)).astype(np.float32)
    before, found = clip.copy(), []
    for seed in range(50):
        own = _words.varied(clip, np.random.default_rng(seed))
        found.append(len(own))
        masked = own == 0
        assert masked.all(1).sum() <= 0.2 * len(own)
        assert masked.all(0).sum() <= 6
        assert masked.sum() == (masked.all(1)[:, None] | masked.all(0)).sum()
    np.testing.assert_array_equal(clip, before)
    assert 32 <= min(found) < 36 < 46 < max(found) <= 50


def test_batches_come_from_key_and_position_and_leave_no_clip_out():
    frames = _words.frames_of(clips_of(37))[0]
    batches, epoch = _words.batches_of(frames)
    again, _ = _words.batches_of(frames)
    key, valid = jax.random.key(0), 0
    for position in reversed(range(epoch)):
        jax.tree.map(np.testing.assert_array_equal, batches(key, position), again(key, position))
        (xs, words), lengths = batches(key, position)
        assert (lengths <= len(xs)).all()
        assert words.shape == xs.shape[:2]
        valid += (lengths > 0).sum()
    assert valid == 37


@pytest.mark.parametrize("name", ["LSTM", "BiLSTM"])
def test_a_model_hears_no_padding_and_no_neighbour(name):
    model = _words.WordModel(name, 3, key=jax.random.key(0))
    clips = [np.random.default_rng(n).normal(size=(n, 40)).astype("f4") for n in (5, 2, 7)]
    xs, lengths = data.padded(clips, data.Batch(np.array([0, 1, 2, data.NONE]), 11))
    together = model(xs, lengths)
    assert jnp.isfinite(together).all()
    for i, clip in enumerate(clips):
        alone = model(clip[:, None], jnp.array([len(clip)]))
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)


def test_a_place_without_a_clip_has_no_loss():
    model = _words.WordModel("RNN", 3, key=jax.random.key(0))
    xs = np.random.default_rng(0).normal(size=(5, 2, 40)).astype("f4")
    words = np.broadcast_to(np.array([2, 1], np.int32), (5, 2))
    both, weight, _ = _words.loss(model, (), (xs, words), jnp.array([5, 0]))
    alone, _, _ = _words.loss(model, (), (xs[:, :1], words[:, :1]), jnp.array([5]))
    assert int(weight) == 1
    np.testing.assert_allclose(both, alone, rtol=1e-5)


def test_scores_are_those_of_the_answers():
    frames = _words.frames_of(clips_of(13))[0]
    model = _words.WordModel("RNN", 2, key=jax.random.key(0))
    found = np.stack([model(c[:, None], jnp.array([len(c)]))[0] for c in frames.clips])
    scores = _words.scores(model, frames)
    assert scores["accuracy"] == pytest.approx((found.argmax(-1) == frames.words).mean())
    chance = np.exp(found)[np.arange(13), frames.words] / np.exp(found).sum(-1)
    assert scores["loss"] == pytest.approx(-np.log(chance).mean(), abs=1e-5)


@pytest.mark.slow
def test_the_job_understands_two_tones(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "data" / "spoken_digits"
    folder.mkdir(parents=True)
    for speaker in ("george", "theo"):
        for digit in (0, 1):
            some = clips_of(40, seed=digit).where(clips_of(40).digits == digit)
            for take, sound in enumerate(some.sounds):
                with wave.open(str(folder / f"{digit}_{speaker}_{take}.wav"), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(8000)
                    file.writeframes((16384 * sound).astype("<i2").tobytes())
    monkeypatch.setenv("SEQMEM_DATA", str(tmp_path / "data"))
    short = ["--cells", "LRU", "--seeds", "1", "--epochs", "40", "--speakers", "theo"]
    monkeypatch.setattr(sys, "argv", ["x", *short, "--out", str(tmp_path)])
    monkeypatch.setattr("benchmarks.jobs.word_picture.SHOWN", 1)
    speech_to_word.main()
    assert "theo 100.0" in capsys.readouterr().out
    kinds = {path.suffix for path in tmp_path.glob("speech_to_word_cpu.*")}
    assert kinds == {".json", ".md", ".csv", ".png"}
    assert str(tmp_path) not in (tmp_path / "speech_to_word_cpu.md").read_text()
