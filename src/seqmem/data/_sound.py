"""WAV files, and log-mel features."""

import math
import os
import wave

import numpy as np
from jaxtyping import Float32

from .._core.errors import bad_input

MIN_ENERGY = 1e-10  # added under the logarithm; rounding to 16 bits gives more


def read_wav(path: str | os.PathLike) -> tuple[Float32[np.ndarray, " samples"], int]:
    """The samples of a WAV file, in [−1, 1), and the sample rate in Hz.

    Args:
        path: an uncompressed file with one channel of 16 bits.

    Raises:
        ValueError: for another kind of file, or a truncated one.
    """
    try:
        with wave.open(os.fspath(path), "rb") as file:
            channels, bits = file.getnchannels(), 8 * file.getsampwidth()
            sample_rate, count = file.getframerate(), file.getnframes()
            # The header may name more than there is, for which memory would be taken.
            content = file.readframes(min(count, os.path.getsize(path)))
    except (OSError, EOFError, RuntimeError, wave.Error) as error:
        raise bad_input(
            f"{path} cannot be read: {error or 'it ends too soon'}.",
            "an uncompressed WAV file.",
            "check the path, or download the file again.",
        ) from error
    if (channels, bits) != (1, 16):
        raise bad_input(
            f"{path} has {channels} channels of {bits} bits.",
            "one channel of 16 bits.",
            "convert it, or mix the channels.",
        )
    if len(content) != 2 * count:
        raise bad_input(
            f"{path} has {len(content)} bytes of samples.",
            f"{2 * count}, as its header says.",
            "download the file again: it is truncated.",
        )
    return np.frombuffer(content, "<i2").astype(np.float32) / 32768, sample_rate


def log_mel(
    samples: Float32[np.ndarray, " samples"],
    sample_rate: int,
    *,
    num_bands: int = 40,
    frame: float = 0.025,
    hop: float = 0.01,
) -> Float32[np.ndarray, "time {num_bands}"]:
    """Log-mel features: the logarithm of the energy in mel-spaced frequency bands, frame by frame.

        y_t = window ∘ x[t·hop : t·hop + frame]
        E_tk = |Σ_n y_tn exp(−2πi kn/N)|²             N: the first power of 2 that holds a frame
        m(f) = 2595 log₁₀(1 + f/700)
        M_tb = log(Σ_k w_bk E_tk + 10⁻¹⁰)

    w_b rises linearly in f from 0 at m_b to 1 at m_{b+1} and falls to 0 at m_{b+2}; m_0, m_1, ...
    are evenly spaced from m(0) to m(rate/2). The window is a Hann window. The last frame is padded
    with zeros. A clip without samples has no frames.

    Source: Davis & Mermelstein 1980, "Comparison of parametric representations for monosyllabic
    word recognition in continuously spoken sentences", for energies in mel bands. Differs: their
    bands are evenly spaced up to 1 kHz; no cosine transform.

    Args:
        samples: the samples of one clip.
        sample_rate: in Hz, > 0.
        num_bands: frequency bands, > 0.
        frame: length of a frame in seconds, > 0.
        hop: seconds between the starts of two frames, > 0.

    Raises:
        ValueError: where a frame is shorter than a sample, or a band has no frequency.

    Example:
        >>> import numpy as np
        >>> from seqmem.data import log_mel
        >>> tone = np.sin(2 * np.pi * 440 / 8000 * np.arange(8000)).astype("float32")
        >>> features = log_mel(tone, 8000, num_bands=20)
        >>> features.shape, int(features.mean(0).argmax())
        ((99, 20), 4)
    """
    width, step = round(sample_rate * frame), round(sample_rate * hop)
    if min(width, step, num_bands) < 1:
        raise bad_input(
            f"log_mel got frames of {width} samples every {step} samples, and {num_bands} bands.",
            "at least 1 of each.",
            "choose longer frames; 0.025 s every 0.01 s is usual.",
        )
    count = 1 + max(0, math.ceil((len(samples) - width) / step)) if len(samples) else 0
    padded = np.pad(samples, (0, max(0, width + (count - 1) * step - len(samples))))
    frames = padded[step * np.arange(count)[:, None] + np.arange(width)] * np.hanning(width)
    size = 1 << (width - 1).bit_length()
    energies = np.abs(np.fft.rfft(frames, size)) ** 2
    weights = mel_weights(sample_rate, size, num_bands)
    return np.log(energies @ weights.T + MIN_ENERGY).astype(np.float32)


def mel_weights(
    sample_rate: int, size: int, num_bands: int
) -> Float32[np.ndarray, "{num_bands} frequencies"]:
    """The weights w of `log_mel`, for frames of `size` samples.

    Raises:
        ValueError: where a band has no frequency.
    """
    max_mel = 2595 * math.log10(1 + sample_rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, max_mel, num_bands + 2) / 2595) - 1)
    low, center, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    f = np.linspace(0, sample_rate / 2, size // 2 + 1)
    rising, falling = (f - low) / (center - low), (high - f) / (high - center)
    weights = np.clip(np.minimum(rising, falling), 0, None)
    if not weights.any(1).all():
        raise bad_input(
            f"log_mel got {num_bands} bands up to {sample_rate / 2} Hz, and frames of {size} "
            "samples.",
            "a frequency in every band.",
            "choose fewer bands or longer frames.",
        )
    return weights.astype(np.float32)
