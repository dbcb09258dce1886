"""Multi30k: what is on 31,000 photographs, in English and in German."""

import os
from typing import Literal, NamedTuple

from .._core.errors import bad_input
from ._folders import check_name, fetcher, file_in, folder_of

COMMIT = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
ADDRESS = f"https://raw.githubusercontent.com/multi30k/dataset/{COMMIT}/data/task1/tok/"
END = ".lc.norm.tok."
SUMS = {
    "train.lc.norm.tok.de": "cb5a23529b65ec2061f1dc446192a9c37382b63cc75f81a0be59d34894b3a505",
    "train.lc.norm.tok.en": "08925f8e0572bcd5a006702fc5fe20e2d77c6917d4eebd576fc20de6693c2119",
    "val.lc.norm.tok.de": "97232bd273eceb7207f689527386a97e4be2616b18ada47576bdaf96c8ae1f00",
    "val.lc.norm.tok.en": "46573ce391ae227f1c72f873392436a20ef18e0a6d518098cfbd70b77c8572ec",
    "test_2016_flickr.lc.norm.tok.de": (
        "c6a33d39d48f9f510de147651316cd9d918e09ad0219df734a2f16b6baccacc4"
    ),
    "test_2016_flickr.lc.norm.tok.en": (
        "5b7f32627cf99eced828311b955dae9800bb52bc8b91cf8b6526829e605b29d2"
    ),
    "test_2017_flickr.lc.norm.tok.de": (
        "02067e4a9402786a4fcb8c1b6f4307e4a5073ced64800abead5273b54f5f31f6"
    ),
    "test_2017_flickr.lc.norm.tok.en": (
        "c9d1dfd7a26add989382e534af235af9f0f658b2a30e7eb0efdaf142496ee54f"
    ),
}
SPLITS = tuple(dict.fromkeys(name.split(END)[0] for name in SUMS))


class Translations(NamedTuple):
    """Sentences beside their translations, as words."""

    en: tuple[tuple[str, ...], ...]
    de: tuple[tuple[str, ...], ...]


def multi30k(
    split: Literal["train", "val", "test_2016_flickr", "test_2017_flickr"],
    path: str | os.PathLike | None = None,
) -> Translations:
    """29,000 sentences to train on, 1,014 to choose by, and twice 1,000 to test: lower case, cut
    into words and punctuation by their publisher (task 1 of the data set).

    Source: Elliott, Frank, Sima'an & Specia 2016, arXiv:1605.00459; github.com/multi30k/dataset at
    a3d2e0d. For research.

    Args:
        split: which of them.
        path: the folder of the files `{split}.lc.norm.tok.{language}`. Else `multi30k` in
            SEQMEM_DATA; else they are fetched, 4 MB.

    Raises:
        ValueError: where a file is missing, the two have not the same number of lines, or a line is
            empty: a sentence without words has no translation to be compared with.
    """
    check_name("split", split, SPLITS)
    folder = folder_of("multi30k", path, fetcher(ADDRESS, SUMS))
    files = [file_in(folder, split + END + language) for language in Translations._fields]
    sides = []
    for file in files:
        # splitlines would also cut at the characters that Unicode counts as ends of lines
        lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        sides.append(tuple(tuple(line.split()) for line in lines))
        if () in sides[-1]:
            raise bad_input(
                f"line {sides[-1].index(()) + 1} of {file} is empty.",
                "a sentence in every line.",
                "fetch the file again, or take the line out of both languages.",
            )
    if len(sides[0]) != len(sides[1]):
        raise bad_input(
            f"{files[0]} has {len(sides[0])} lines, {files[1]} has {len(sides[1])}.",
            "one line for one, in the same order.",
            "fetch both files again.",
        )
    return Translations(*sides)
