"""The data of `speech_to_word`: log-mel features of clips, augmentation, and batches."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int, PRNGKeyArray

from seqmem import data

BANDS, HOP = 40, 0.02  # of log_mel; seconds from frame to frame
MAX_SPEED, MAX_MASK = 1.25, 0.2  # of the augmentation: a factor, and a share of an axis
BATCH, BUCKETS = 32, 3


class Features(NamedTuple):
    """Clips as features, [time, band], and their words."""

    clips: list[np.ndarray]
    words: Int[np.ndarray, " clip"]


def features_of(*parts: data.SpokenDigits) -> list[Features]:
    """Log-mel features. Each clip's mean is subtracted, which removes its loudness; then each band
    is scaled to mean 0 and standard deviation 1 over the first part, the training set.
    """

    def centred(waveform: np.ndarray) -> np.ndarray:
        energies = data.log_mel(waveform, data.SpokenDigits.SAMPLE_RATE, num_bands=BANDS, hop=HOP)
        return energies - energies.mean()

    clips = [[centred(waveform) for waveform in part.waveforms] for part in parts]
    frames = np.concatenate(clips[0])
    mean, deviation = frames.mean(0), frames.std(0)
    return [
        Features([(clip - mean) / deviation for clip in part_clips], part.digits)
        for part_clips, part in zip(clips, parts, strict=True)
    ]


def augment(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The clip at another speed, with a segment of time and one of the bands set to the mean.

    Source: Park et al. 2019, arXiv:1904.08779 (SpecAugment), for the masks.
    """
    speed = rng.uniform(1 / MAX_SPEED, MAX_SPEED)
    times = np.linspace(0, len(clip) - 1, max(1, int(len(clip) * speed)))
    below = times.astype(int)
    above = np.minimum(below + 1, len(clip) - 1)
    weight = (times - below)[:, None].astype(clip.dtype)
    clip = (1 - weight) * clip[below] + weight * clip[above]
    for view in (clip, clip.T):  # writing into the view writes into the clip
        size = rng.integers(int(MAX_MASK * len(view)) + 1)
        start = rng.integers(len(view) - size + 1)
        view[start : start + size] = 0
    return clip


def training_batches(features: Features) -> tuple[Callable[[PRNGKeyArray, int], Any], int]:
    """Batches of augmented clips by key and position, and the number of batches in an epoch."""
    longest = [int(len(clip) * MAX_SPEED) for clip in features.clips]
    buckets = data.Buckets.from_lengths(longest, batch_size=BATCH, num_buckets=BUCKETS)

    def batches(key: PRNGKeyArray, position: int):
        batch, rng = buckets(key, position), data.numpy_rng(key, position)
        clips = {
            int(i): augment(features.clips[i], rng) for i in batch.indices if i != data.NO_EXAMPLE
        }
        xs, lengths = data.pad_batch(clips, batch)
        words = features.words[batch.indices].astype(np.int32)
        return (xs, np.broadcast_to(words, xs.shape[:2])), lengths

    return batches, len(buckets)


def evaluation_batches(clips: Sequence[np.ndarray], batch: int = 100):
    """Every clip once, in batches of about one length."""
    buckets = data.Buckets.from_lengths(
        [len(clip) for clip in clips], batch_size=batch, num_buckets=BUCKETS
    )
    for position in range(len(buckets)):
        yield buckets(jax.random.key(0), position)
