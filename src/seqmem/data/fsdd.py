"""The Free Spoken Digit Dataset: 3,000 clips of ten words by six speakers."""

import dataclasses
import os
import pathlib
import re
import tempfile
import zipfile

import numpy as np
from jaxtyping import Bool, Float32, Int

from .._core.errors import bad_input
from ._folders import check_sum, download, folder_of, sum_of
from .sound import read_wav

RATE = 8000  # samples in a second
COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
ADDRESS = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"
SUM = "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959"
NAME = re.compile(r"([0-9])_([a-z]+)_([0-9]+)\.wav")


@dataclasses.dataclass(frozen=True)
class SpokenDigits:
    """Clips, and of each the digit that is said, by whom, and which of the speaker's takes it is.

    Attributes:
        sounds: 8,000 samples in a second, in [−1, 1).
        digits: 0 to 9.
        speakers: their names.
        takes: 0, 1, ... for each digit of a speaker.
    """

    sounds: tuple[Float32[np.ndarray, " samples"], ...]
    digits: Int[np.ndarray, " clip"]
    speakers: np.ndarray
    takes: Int[np.ndarray, " clip"]

    def __len__(self) -> int:
        return len(self.sounds)

    def where(self, wanted: Bool[np.ndarray, " clip"]) -> "SpokenDigits":
        """Some of the clips."""
        sounds = tuple(self.sounds[i] for i in np.flatnonzero(wanted))
        return SpokenDigits(sounds, self.digits[wanted], self.speakers[wanted], self.takes[wanted])

    def split(self, tested: int = 5) -> tuple["SpokenDigits", "SpokenDigits"]:
        """Training and test: the takes from number `tested` on, and those before it. 5 is official:
        2,700 clips and 300.
        """
        return self.where(self.takes >= tested), self.where(self.takes < tested)

    def without(self, speaker: str) -> tuple["SpokenDigits", "SpokenDigits"]:
        """Training and test: the other speakers, and this one.

        Raises:
            ValueError: where nobody has this name.
        """
        own = self.speakers == speaker
        if not own.any():
            raise bad_input(
                f"no clip of {speaker!r}.",
                f"one of {', '.join(sorted(set(self.speakers.tolist())))}.",
                "name one of these.",
            )
        return self.where(~own), self.where(own)


def spoken_digits(path: str | os.PathLike | None = None) -> SpokenDigits:
    """The clips, in the order digit, speaker, take.

    Source: github.com/Jakobovski/free-spoken-digit-dataset at 26eb9aa, CC BY-SA 4.0; its README
    says the split.

    Args:
        path: the folder of the files `{digit}_{speaker}_{take}.wav`. Else `spoken_digits` in
            SEQMEM_DATA; else they are fetched, 16 MB.

    Raises:
        ValueError: where the folder holds none, or one is broken.
    """
    folder = folder_of("spoken_digits", path, _fetch)
    named = [(match, file) for file in folder.iterdir() if (match := NAME.fullmatch(file.name))]
    if not named:
        raise bad_input(
            f"no clip in {folder}.",
            "files named {digit}_{speaker}_{take}.wav.",
            "pass the folder that holds them, or leave path and SEQMEM_DATA out to fetch them.",
        )
    clips = sorted((int(m[1]), m[2], int(m[3]), file) for m, file in named)
    digits, speakers, takes, files = zip(*clips, strict=True)
    sounds = tuple(map(_sound, files))
    return SpokenDigits(sounds, np.array(digits), np.array(speakers), np.array(takes))


def _sound(file: pathlib.Path) -> Float32[np.ndarray, " samples"]:
    sound, rate = read_wav(file)
    if rate != RATE:
        raise bad_input(f"{file} has {rate} Hz.", f"{RATE} Hz.", "sample it anew.")
    return sound


def _fetch(folder: pathlib.Path) -> None:
    """The zip file is made on demand and may differ from day to day, so its content is checked."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        archive = pathlib.Path(beside, "clips.zip")
        download(ADDRESS, archive, None)
        unpack(archive, folder)
    check_sum(f"what {ADDRESS} holds", sum_of(folder), SUM)


def unpack(archive: pathlib.Path, folder: pathlib.Path) -> None:
    """Write the clips in a zip file into a folder."""
    try:
        with zipfile.ZipFile(archive) as members:
            for member in members.namelist():
                name = pathlib.PurePosixPath(member).name
                if NAME.fullmatch(name):
                    (folder / name).write_bytes(members.read(member))
    except zipfile.BadZipFile as error:
        raise bad_input(
            f"{ADDRESS} is no zip file: {error}.", "an archive of the clips.", "try again."
        ) from error
