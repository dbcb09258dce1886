"""Sound from wav files, and what an ear would tell of it."""

import math
import os
import wave

import numpy as np
from jaxtyping import Float32

from .._core.errors import bad_input

LEAST = 1e-10  # of an energy, under the logarithm: rounding to 16 bits makes more


def read_wav(path: str | os.PathLike) -> tuple[Float32[np.ndarray, " samples"], int]:
    """The samples of a wav file, in [−1, 1), and how many there are in a second.

    Args:
        path: of a file of one channel, 16 bits a sample, without compression.

    Raises:
        ValueError: where it is another kind of file, or is cut off.
    """
    try:
        with wave.open(os.fspath(path), "rb") as file:
            form = file.getnchannels(), 8 * file.getsampwidth()
            rate, count = file.getframerate(), file.getnframes()
            content = file.readframes(count)
    except (OSError, EOFError, wave.Error) as error:
        raise bad_input(
            f"{path} cannot be read: {error or 'it ends too soon'}.",
            "a wav file without compression.",
            "check the path, or fetch the file again.",
        ) from error
    if form != (1, 16):
        raise bad_input(
            f"{path} has {form[0]} channels of {form[1]} bits.",
            "one channel of 16 bits.",
            "convert it, or mix the channels.",
        )
    if len(content) != 2 * count:
        raise bad_input(
            f"{path} holds {len(content)} bytes of sound.",
            f"{2 * count}, as its head says.",
            "fetch the file again: it is cut off.",
        )
    return np.frombuffer(content, "<i2").astype(np.float32) / 32768, rate


def log_mel(
    samples: Float32[np.ndarray, " samples"],
    rate: int,
    *,
    bands: int = 40,
    frame: float = 0.025,
    hop: float = 0.01,
) -> Float32[np.ndarray, "time {bands}"]:
    """The logarithm of the energy in bands as wide as the ear's, frame after frame.

        y_t = window ∘ x[t·hop : t·hop + frame]
        E_tk = |Σ_n y_tn exp(−2πi kn/N)|²             N: the first power of 2 that holds a frame
        m(f) = 2595 log₁₀(1 + f/700)
        M_tb = log(Σ_k w_bk E_tk + 10⁻¹⁰)

    w_b rises linearly in f from 0 at m_b to 1 at m_{b+1} and falls to 0 at m_{b+2}, where m_0, m_1,
    ... are evenly spaced from m(0) to m(rate/2). The window is Hann's. The last frame is filled up
    with zeros; no sample has no frame.

    Source: Davis & Mermelstein 1980, "Comparison of parametric representations for monosyllabic
    word recognition in continuously spoken sentences", for energies in mel bands. Differs: their
    bands are evenly spaced up to 1 kHz; no cosine transform.

    Args:
        samples: of one clip.
        rate: samples in a second, > 0.
        bands: how many.
        frame: seconds in a frame.
        hop: seconds from frame to frame.

    Raises:
        ValueError: where a frame holds no sample, or a band no frequency.

    Example:
        >>> import numpy as np
        >>> from seqmem.data import log_mel
        >>> tone = np.sin(2 * np.pi * 440 / 8000 * np.arange(8000)).astype("float32")
        >>> energies = log_mel(tone, 8000, bands=20)
        >>> energies.shape, int(energies.mean(0).argmax())
        ((99, 20), 4)
    """
    width, step = round(rate * frame), round(rate * hop)
    if min(width, step, bands) < 1:
        raise bad_input(
            f"frames of {width} samples every {step}, and {bands} bands.",
            "at least 1 of each.",
            "choose longer frames; 0.025 s every 0.01 s is usual.",
        )
    count = 1 + max(0, math.ceil((len(samples) - width) / step)) if len(samples) else 0
    padded = np.pad(samples, (0, max(0, width + (count - 1) * step - len(samples))))
    frames = padded[step * np.arange(count)[:, None] + np.arange(width)] * np.hanning(width)
    size = 1 << (width - 1).bit_length()
    energies = np.abs(np.fft.rfft(frames, size)) ** 2
    return np.log(energies @ triangles(rate, size, bands).T + LEAST).astype(np.float32)


def triangles(rate: int, size: int, bands: int) -> Float32[np.ndarray, "{bands} frequencies"]:
    """The weights w of `log_mel`."""
    highest = 2595 * math.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, highest, bands + 2) / 2595) - 1)
    low, top, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    f = np.linspace(0, rate / 2, size // 2 + 1)
    weights = np.clip(np.minimum((f - low) / (top - low), (high - f) / (high - top)), 0, None)
    if not weights.any(1).all():
        raise bad_input(
            f"{bands} bands up to {rate / 2} Hz, and frames of {size} samples.",
            "a frequency in every band.",
            "choose fewer bands or longer frames.",
        )
    return weights.astype(np.float32)
