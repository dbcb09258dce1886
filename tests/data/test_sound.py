"""WAV files, log-mel features and spoken digits."""

import struct
import wave

import numpy as np
import pytest

from seqmem import data
from seqmem.data import spoken_digits
from seqmem.data._sound import mel_weights
from tests.helpers.memory import memory_below
from tests.helpers.refusals import assert_refused


def write_wav(path, samples, *, channels=1, width=2, rate=8000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2").tobytes())
    return path


def test_read_wav_returns_the_samples_and_the_sample_rate(tmp_path):
    samples, rate = data.read_wav(write_wav(tmp_path / "a.wav", [0, 16384, -32768, 1], rate=11025))
    assert rate == 11025
    assert samples.dtype == np.float32
    assert samples.tolist() == [0, 0.5, -1, 2**-15]


@pytest.mark.parametrize("kind", [{"channels": 2}, {"width": 1}])
def test_read_wav_refuses_other_formats(kind, tmp_path):
    path = write_wav(tmp_path / "a.wav", [1, 2, 3, 4], **kind)
    with pytest.raises(ValueError, match=r"channels(.|\n)*What to do"):
        data.read_wav(path)


@pytest.mark.parametrize("size", [0, 5, 30, 47, -2])
def test_read_wav_refuses_a_truncated_file(size, tmp_path):
    path = write_wav(tmp_path / "a.wav", range(97))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"a.wav(.|\n)*Expected(.|\n)*What to do"):
        data.read_wav(path)


def test_read_wav_refuses_a_chunk_beyond_the_file(tmp_path):
    path = write_wav(tmp_path / "a.wav", range(97))
    content = path.read_bytes()
    path.write_bytes(content[:12] + b"LIST" + struct.pack("<I", 10**6) + content[12:])
    assert_refused(f"{path} cannot be read", data.read_wav, path)


def test_read_wav_takes_memory_in_proportion_to_the_file(tmp_path):
    path = write_wav(tmp_path / "a.wav", range(97))
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", 2**31)
    path.write_bytes(content)
    with memory_below(2**20):
        assert_refused(f"{path} has 194 bytes of samples", data.read_wav, path)


def test_read_wav_refuses_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"none.wav(.|\n)*What to do"):
        data.read_wav(tmp_path / "none.wav")


def reference_log_mel(samples, rate, bands, frame, hop):
    """The docstring's equations, one number at a time."""
    width, step = round(rate * frame), round(rate * hop)
    size = 2 ** int(np.ceil(np.log2(width)))
    window = [0.5 - 0.5 * np.cos(2 * np.pi * n / (width - 1)) for n in range(width)]
    mel = 2595 * np.log10(1 + rate / 2 / 700) * np.arange(bands + 2) / (bands + 1)
    corners = 700 * (10 ** (mel / 2595) - 1)
    rows, start = [], 0
    while True:
        part = [samples[start + n] if start + n < len(samples) else 0 for n in range(width)]
        row = []
        for b in range(bands):
            total = 0.0
            for k in range(size // 2 + 1):
                f = k * rate / size
                if corners[b] < f < corners[b + 2]:
                    rising = (f - corners[b]) / (corners[b + 1] - corners[b])
                    falling = (corners[b + 2] - f) / (corners[b + 2] - corners[b + 1])
                    wave = np.exp(-2j * np.pi * k * np.arange(width) / size)
                    energy = abs((np.array(part) * window * wave).sum()) ** 2
                    total += min(rising, falling) * energy
            row.append(np.log(total + 1e-10))
        rows.append(row)
        start += step
        if start - step + width >= len(samples):
            return np.array(rows)


@pytest.mark.parametrize("length", [1, 23, 24, 67, 83])
def test_log_mel_matches_its_equations(length):
    samples = np.random.default_rng(0).normal(size=length).astype(np.float32)
    features = data.log_mel(samples, 1000, num_bands=5, frame=0.023, hop=0.011)
    np.testing.assert_allclose(
        features, reference_log_mel(samples.astype(float), 1000, 5, 0.023, 0.011), atol=1e-4
    )


def test_log_mel_of_no_sample_has_no_frame():
    assert data.log_mel(np.zeros(0, np.float32), 8000).shape == (0, 40)


def test_log_mel_of_silence_is_finite():
    assert np.isfinite(data.log_mel(np.zeros(400, np.float32), 8000)).all()


def test_mel_weights_sum_to_1_between_the_centers():
    weights = mel_weights(8000, 256, 20)
    f = np.linspace(0, 4000, 129)
    centers = f[weights.argmax(1)]
    inside = (f > centers[0]) & (f < centers[-1])
    np.testing.assert_allclose(weights.sum(0)[inside], 1, atol=1e-6)


def test_log_mel_refuses_more_bands_than_frequencies():
    with pytest.raises(ValueError, match=r"a frequency in every band(.|\n)*What to do"):
        data.log_mel(np.zeros(400, np.float32), 8000, num_bands=130)


def test_log_mel_refuses_frames_without_samples():
    with pytest.raises(ValueError, match=r"frames of 0 samples(.|\n)*What to do"):
        data.log_mel(np.zeros(400, np.float32), 8000, frame=1e-5)


@pytest.fixture
def clips(tmp_path):
    """Two words by two speakers, seven takes each; each clip has its own length."""
    for digit in (0, 3):
        for s, speaker in enumerate(("ann", "bob")):
            for take in range(7):
                samples = range(1 + 100 * digit + 10 * s + take)
                write_wav(tmp_path / f"{digit}_{speaker}_{take}.wav", samples)
    (tmp_path / "README.md").write_text("not a clip")
    return data.spoken_digits(tmp_path)


def test_clips_have_their_digits_speakers_and_takes(clips):
    assert len(clips) == 28
    for waveform, digit, speaker, take in zip(
        clips.waveforms, clips.digits, clips.speakers, clips.takes, strict=True
    ):
        assert len(waveform) == 1 + 100 * digit + 10 * (speaker == "bob") + take


def test_split_puts_the_first_takes_into_the_test_set(clips):
    training, test = clips.split()
    assert (len(training), len(test)) == (8, 20)
    assert set(test.takes) == set(range(5))
    assert set(training.takes) == {5, 6}


def test_held_out_speaker_is_not_in_the_training_set(clips):
    training, test = clips.hold_out("bob")
    assert (len(training), len(test)) == (14, 14)
    assert set(training.speakers) == {"ann"}
    assert [len(waveform) % 100 for waveform in test.waveforms[:3]] == [11, 12, 13]
    with pytest.raises(ValueError, match="ann, bob"):
        clips.hold_out("eve")


def test_spoken_digits_refuse_a_folder_without_clips(tmp_path):
    with pytest.raises(ValueError, match=r"no clip in(.|\n)*What to do"):
        data.spoken_digits(tmp_path)


def test_spoken_digits_refuse_another_sample_rate(tmp_path):
    write_wav(tmp_path / "3_ann_0.wav", range(97), rate=11025)
    with pytest.raises(ValueError, match=r"11025 Hz(.|\n)*8000 Hz"):
        data.spoken_digits(tmp_path)


def test_spoken_digits_have_the_official_split(data):
    clips = spoken_digits(data / "spoken_digits")
    training, test = clips.split()
    assert (len(clips), len(training), len(test)) == (3000, 2700, 300)
    assert np.bincount(test.digits).tolist() == [30] * 10
    assert {name: int((clips.speakers == name).sum()) for name in set(clips.speakers)} == {
        name: 500 for name in ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    }
