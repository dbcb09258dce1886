"""The Free Spoken Digit Dataset: 3,000 clips of ten words by six speakers."""

import dataclasses
import os
import pathlib
import re
import tempfile
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float32, Int

from .._core.archives import read_members
from .._core.errors import bad_input
from ._folders import check_sha256, data_folder, download, folder_sha256
from ._sound import read_wav

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"
SHA256 = "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959"
NAME = re.compile(r"([0-9])_([a-z]+)_([0-9]+)\.wav")


@dataclasses.dataclass(frozen=True)
class SpokenDigits:
    """Clips with the spoken digit, the speaker and the take of each.

    Attributes:
        waveforms: samples at `SpokenDigits.SAMPLE_RATE`, in [−1, 1).
        digits: 0 to 9.
        speakers: names.
        takes: 0, 1, ... for each digit of a speaker.
    """

    SAMPLE_RATE: ClassVar[int] = 8000  # Hz

    waveforms: tuple[Float32[np.ndarray, " samples"], ...]
    digits: Int[np.ndarray, " clip"]
    speakers: np.ndarray
    takes: Int[np.ndarray, " clip"]

    def __len__(self) -> int:
        return len(self.waveforms)

    def select(self, mask: Bool[np.ndarray, " clip"]) -> "SpokenDigits":
        """The clips where the mask is True."""
        waveforms = tuple(self.waveforms[i] for i in np.flatnonzero(mask))
        return SpokenDigits(waveforms, self.digits[mask], self.speakers[mask], self.takes[mask])

    def split(self, num_test_takes: int = 5) -> tuple["SpokenDigits", "SpokenDigits"]:
        """Training and test set; the first takes of each digit and speaker are the test set.

        The official split has 5 test takes: 2,700 clips and 300.

        Args:
            num_test_takes: takes in the test set.
        """
        is_test = self.takes < num_test_takes
        return self.select(~is_test), self.select(is_test)

    def hold_out(self, speaker: str) -> tuple["SpokenDigits", "SpokenDigits"]:
        """Training and test set; one speaker is the test set.

        Args:
            speaker: the name.

        Raises:
            ValueError: for an unknown speaker.
        """
        is_test = self.speakers == speaker
        if not is_test.any():
            raise bad_input(
                f"no clip of {speaker!r}.",
                f"one of {', '.join(sorted(set(self.speakers.tolist())))}.",
                "pass one of these names.",
            )
        return self.select(~is_test), self.select(is_test)


def spoken_digits(path: str | os.PathLike | None = None) -> SpokenDigits:
    """The clips, ordered by digit, speaker and take.

    Source: github.com/Jakobovski/free-spoken-digit-dataset at 26eb9aa, CC BY-SA 4.0; the split is
    that of its README.

    Args:
        path: the folder of the files `{digit}_{speaker}_{take}.wav`; None is the folder
            `spoken_digits` in SEQMEM_DATA, else a download of 16 MB.

    Raises:
        ValueError: where the folder has no clip, or a broken one.
    """
    folder = data_folder("spoken_digits", path, _fetch)
    matches = [(match, file) for file in folder.iterdir() if (match := NAME.fullmatch(file.name))]
    if not matches:
        raise bad_input(
            f"no clip in {folder}.",
            "files named {digit}_{speaker}_{take}.wav.",
            "pass the folder of these files, or leave path and SEQMEM_DATA out to download them.",
        )
    clips = sorted((int(m[1]), m[2], int(m[3]), file) for m, file in matches)
    digits, speakers, takes, files = zip(*clips, strict=True)
    waveforms = tuple(map(_read_clip, files))
    return SpokenDigits(waveforms, np.array(digits), np.array(speakers), np.array(takes))


def _read_clip(file: pathlib.Path) -> Float32[np.ndarray, " samples"]:
    samples, sample_rate = read_wav(file)
    if sample_rate != SpokenDigits.SAMPLE_RATE:
        raise bad_input(
            f"{file} has {sample_rate} Hz.", f"{SpokenDigits.SAMPLE_RATE} Hz.", "resample it."
        )
    return samples


def _fetch(folder: pathlib.Path) -> None:
    """Download the clips. The publisher makes the zip file on demand, and its bytes may differ from
    day to day, so the checksum is that of its contents.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        archive = pathlib.Path(temporary, "clips.zip")
        download(URL, archive, None)
        unpack(archive, folder)
    check_sha256(f"the content of {URL}", folder_sha256(folder), SHA256)


def unpack(archive: pathlib.Path, folder: pathlib.Path) -> None:
    """Write the clips of a zip file to a folder.

    Raises:
        ValueError: where the archive is no zip file, or is damaged.
    """
    for member, content in read_members(archive, lambda name: _clip_name(name) is not None, URL):
        (folder / str(_clip_name(member))).write_bytes(content)


def _clip_name(member: str) -> str | None:
    """The name of the file of a clip; None for other members. Folders in the archive are left out,
    also those that would lead elsewhere.
    """
    name = pathlib.PurePosixPath(member).name
    return name if NAME.fullmatch(name) else None
